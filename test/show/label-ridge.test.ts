/** Ridge regression of labels: against scikit-learn (test/oracles/ridge.py). */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { WasmDevice } from '../../src/device/wasm/wasm-device.ts';
import { uniform } from '../../src/random.ts';
import { LabelRidge } from '../../src/show/rank/ridge/label-ridge.ts';
import { Worst } from '../device/devices.ts';
import { readJson } from '../files.ts';

interface Case {
  readonly width: number;
  readonly classes: number;
  readonly features: readonly (readonly number[])[];
  readonly labels: readonly number[];
  readonly lambda: number;
  readonly accuracy: number;
  readonly left_out: readonly (readonly number[])[];
  readonly scores: readonly (readonly number[])[];
  readonly without: readonly number[];
  readonly scores_without: readonly (readonly number[])[];
}

const worst = new Worst();
const device = await WasmDevice.create();
const cases = (await readJson('test/fixtures/ridge.json')) as readonly Case[];

const softmax = (scores: readonly number[], temperature: number): number[] => {
  const top = Math.max(...scores);
  const list = scores.map((score) => Math.exp((score - top) / temperature));
  return list.map((x) => x / list.reduce((a, b) => a + b, 0));
};
const apart = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  return Math.max(...Array.from(a, (x, i) => Math.abs(x - b[i]!)));
};
const split = ({ features, labels }: Case) => {
  const list = features.map((row) => Float32Array.from(row));
  return { known: list.slice(0, labels.length), asked: list.slice(labels.length) };
};

test('scores, the regularisation and examples left out are those of scikit-learn', async () => {
  for (const one of cases) {
    const { known, asked } = split(one);
    const ridge = await LabelRidge.fit(device, known, one.labels, one.classes, one);
    assert.ok(worst.within('regularisation', Math.abs(ridge.lambda - one.lambda), 1e-12));
    assert.ok(worst.within('accuracy left out', Math.abs(ridge.accuracy - one.accuracy), 1e-12));
    const truths = one.labels.filter((label) => label >= 0);
    const loss = (t: number) => truths.reduce((sum, y, i) => sum - Math.log(softmax(one.left_out[i]!, t)[y]!), 0);
    const t = ridge.temperature;
    assert.ok(loss(t) <= loss(t * 1.2) && loss(t) <= loss(t / 1.2), 'the likeliest temperature');
    for (const [i, features] of asked.entries()) {
      const got = ridge.read(features);
      assert.ok(worst.within('shares', apart(softmax(one.scores[i]!, t), got.shares), 2e-5));
      const rest = ridge.read(features, one.without).shares;
      assert.ok(worst.within('shares without three', apart(softmax(one.scores_without[i]!, t), rest), 2e-5));
      // scores are what the weights make of the labels
      const weights = got.weights();
      const sums = new Array<number>(one.classes).fill(0);
      for (const [k, label] of one.labels.entries()) if (label >= 0) sums[label]! += weights[k]!;
      assert.ok(worst.within('weights by label', apart(sums, one.scores[i]!), 2e-5));
    }
  }
});

test('of more examples than landmarks, which span what they say: the same', async () => {
  for (const one of cases) {
    const { known, asked } = split(one);
    const whole = await LabelRidge.fit(device, known, one.labels, one.classes, one);
    const some = await LabelRidge.fit(device, known, one.labels, one.classes, { ...one, landmarks: 26 });
    assert.is(some.lambda, whole.lambda);
    for (const features of asked) {
      assert.ok(worst.within('26 landmarks', apart(some.read(features).shares, whole.read(features).shares), 1e-3));
    }
    const few = await LabelRidge.fit(device, known, one.labels, one.classes, { ...one, landmarks: 5 });
    const sum = few.read(asked[0]!).shares.reduce((a, b) => a + b, 0);
    assert.ok(Math.abs(sum - 1) < 1e-12);
  }
});

test('examples that say nothing of each other leave all labels alike', async () => {
  const one = cases[0]!;
  const { known, asked } = split(one);
  const alike = [0.25, 0.25, 0.25, 0.25];
  const drawn = known.map((_, i) => Math.floor(4 * uniform(5, i)));
  const arbitrary = await LabelRidge.fit(device, known, drawn, 4, one);
  const none = await LabelRidge.fit(
    device,
    known,
    known.map(() => -1),
    4,
    one,
  );
  for (const features of asked) {
    assert.ok(apart(arbitrary.read(features).shares, alike) < 0.25, `${arbitrary.read(features).shares}`);
    assert.equal([...none.read(features).shares], alike);
  }
  assert.equal([arbitrary.says, none.says], [false, false]);
  // few of them say something only where they say it clearly
  const informed = split(cases[0]!).known;
  for (const n of [2, 3, 4]) {
    const few = await LabelRidge.fit(device, informed.slice(0, n), cases[0]!.labels.slice(0, n), 4, one);
    assert.not(few.says, `${n}`);
  }
  const single = await LabelRidge.fit(device, known.slice(0, 1), [0], 4, one);
  assert.equal([...single.read(asked[0]!).shares], alike);
});

test.after(() => {
  device.close();
  worst.print();
});
test.run();
