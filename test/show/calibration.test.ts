/** What calibration fits: bias, vote, threshold and fallback, on made-up distributions and on nano-base. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { WasmDevice } from '../../src/device/wasm/wasm-device.ts';
import type { EspalierError } from '../../src/errors.ts';
import { openLocal } from '../../src/open-local.ts';
import { fitCalibration, type Observation } from '../../src/show/answer/calibrate.ts';
import { labelBias } from '../../src/show/answer/ensemble.ts';
import { settingsOf } from '../../src/show/answer/presets.ts';
import type { LabelScores } from '../../src/show/probe/label-probe.ts';
import { overLabels } from '../../src/show/probe/labels.ts';
import { Chain, ShotPool, Show, type ShowOptions } from '../../src/show.ts';
import { Worst } from '../device/devices.ts';
import { modelTarget } from '../files.ts';

const worst = new Worst();
const LABELS = ['play music', 'play', 'set an alarm', 'weather'];
const WORDS = ['songs', 'something', 'the morning', 'rain'];
const base = {
  preset: 'label',
  labels: LABELS,
  prompt: 'intent:',
  rank: 'bm25',
  grid: { kind: 'geometric', first: 2, most: 8 },
  ridge: null,
} as const satisfies ShowOptions;

/** Behind so many shots: logarithms, not normalised. */
function scores(shots: number, logs: readonly number[]): LabelScores {
  const { probabilities, entropy } = overLabels(logs);
  const best = probabilities.indexOf(Math.max(...probabilities));
  return { shots, probabilities, entropy, mass: 1, best, logits: new Float32Array(1), scored: null };
}

function observation(truth: number, byCount: Record<number, readonly number[]>): Observation {
  const counts = Object.keys(byCount).map(Number);
  return {
    rounds: counts.map((count) => [count]),
    probes: [],
    alone: new Map(counts.map((count) => [count, scores(count, byCount[count]!)])),
    vote: null,
    ridge: null,
    truth,
    cap: 99,
  };
}

test('the bias of a count is its mean logarithm, whatever is asked', () => {
  const logs = [
    [2, 0, -1, 0.5],
    [0, 1, 0, -1],
  ];
  const bias = labelBias(
    logs.map((list) => new Map([[4, scores(4, list)]])),
    0.5,
  ).get(4)!;
  const want = LABELS.map((_, i) => {
    const normal = logs.map((list) => list[i]! - Math.log(list.reduce((sum, x) => sum + Math.exp(x), 0)));
    return (0.5 * (normal[0]! + normal[1]!)) / 2;
  });
  const error = Math.max(...want.map((x, i) => Math.abs(x - bias[i]!)));
  assert.ok(worst.within('bias', error, 1e-12), `${error}`);
});

test('a count that prefers a label is put right; without that, the fit of the threshold says so', () => {
  const settings = settingsOf({ ...base, ensemble: 'one', vote: null, fallback: 'most' });
  // behind 2 shots: the first label whatever the truth; behind 4: the third. The truth shows as a small difference
  const items = [0, 1, 2, 3, 0, 1, 2, 3].map((truth, i) => {
    const logs = (favourite: number) =>
      LABELS.map(
        (_, label) => (label === favourite ? 4 : 0) + (label === truth ? 1 : 0) + 0.01 * ((i * 7 + label) % 5),
      );
    return observation(truth, { 2: logs(0), 4: logs(2) });
  });
  const plain = fitCalibration(items, settings, 'threshold');
  assert.is(plain.accuracy, 0.5); // entropy tells where the favourite is the truth, behind 2 and behind 4
  assert.equal([plain.bias, plain.fallback, plain.vote], [null, 'most', null]);
  const whole = fitCalibration(items, settings, 'all');
  assert.is(whole.accuracy, 1);
  assert.is(whole.meanShots, 2);
  assert.equal(Object.keys(whole.bias!), ['2', '4']);
  assert.equal(whole.fixed, [
    { shots: 2, accuracy: 0.25 },
    { shots: 4, accuracy: 0.25 },
  ]);
});

test('when nothing is sure, the count that is right most often', () => {
  const settings = settingsOf({ ...base, ensemble: 'one', vote: null, fallback: 'most' });
  // 8 shots are sure and wrong, 2 unsure and wrong, 4 less sure than 8 and right
  const items = [0, 1, 2, 3].map((truth) => {
    const logs = (answer: number, by: number) => LABELS.map((_, label) => (label === answer ? by : 0));
    return observation(truth, { 2: logs((truth + 1) % 4, 0.5), 4: logs(truth, 1), 8: logs((truth + 2) % 4, 3) });
  });
  const fitted = fitCalibration(items, settings, 'all');
  assert.equal([fitted.accuracy, fitted.meanShots], [1, 4]);
});

const device = await WasmDevice.create();
const model = await openLocal(await modelTarget('models/nano-base'), { device, precision: 'exact' });
const shots = Array.from({ length: 24 }, (_, i) => ({
  id: String(i).padStart(2, '0'),
  input: `I want ${WORDS[i % 4]} number ${i}`,
  text: `utterance: I want ${WORDS[i % 4]} number ${i}\nintent: ${LABELS[i % 4]}\n==\n`,
  label: LABELS[i % 4]!,
}));
const dev = shots.slice(16).map(({ input, label }) => ({ query: `utterance: ${input}\nintent:`, input, label }));

test('what is fitted is what asking gives, also when it is given to another one', async () => {
  const pool = await ShotPool.build(model, shots.slice(0, 16));
  const chain = await Chain.create(model, shots.slice(0, 8));
  for (const source of [pool, chain]) {
    for (const fit of ['all', 'threshold'] as const) {
      const show = await Show.create(source, base);
      const before = { ...show.settings };
      const fitted = await show.calibrate(dev, { fit });
      if (fit === 'threshold') {
        assert.equal([fitted.fallback, fitted.vote, fitted.bias], [before.fallback, before.vote, null]);
      }
      const again = await Show.create(source, { ...base, calibration: JSON.parse(JSON.stringify(fitted)) });
      assert.is(again.threshold, fitted.threshold);
      assert.equal(again.settings, { ...show.settings, calibration: again.settings.calibration });
      let right = 0;
      let used = 0;
      for (const { query, input, label } of dev) {
        const answer = await show.ask(query, source === pool ? { input } : {});
        const same = await again.ask(query, source === pool ? { input } : {});
        assert.equal(same.probabilities, answer.probabilities);
        if (answer.label === label) right++;
        used += answer.receipt.chosen;
        assert.is(answer.receipt.unbiased, fitted.bias !== null);
        const votes = source === pool && (fitted.vote?.weight ?? 0) > 0;
        assert.equal(answer.receipt.vote, votes ? fitted.vote : null);
        // of a fixed fallback nothing beyond it is looked at, when nothing can be sure
        if (fitted.threshold === 0 && typeof fitted.fallback === 'object') {
          assert.ok(answer.receipt.probes.every((probe) => probe.shots <= answer.receipt.chosen));
        }
      }
      assert.is(right / dev.length, fitted.accuracy);
      assert.is(used / dev.length, fitted.meanShots);
      // a second time: from what was given, not from what was fitted
      assert.equal(await show.calibrate(dev, { fit }), fitted);
      show.close();
      again.close();
    }
  }
  chain.close();
  pool.close();
});

test('a calibration that cannot be is refused', async () => {
  const pool = await ShotPool.build(model, shots, { grow: { initial: 0 } });
  const whole = {
    labels: LABELS,
    threshold: 0.1,
    fallback: 'most',
    vote: null,
    ridge: null,
    bias: { 2: [0.1, 0.2, 0.3, 0.4] },
  } as const;
  for (const calibration of [
    { ...whole, bias: { 2: [0.1, 0.2] } },
    { ...whole, bias: { 2: [0.1, 0.2, 0.3, Number.NaN] } },
    { ...whole, labels: LABELS.toReversed() },
    { ...whole, threshold: Number.NaN },
    { ...whole, fallback: 'none' },
    { ...whole, vote: { neighbours: 0, weight: 1 } },
  ]) {
    await Show.create(pool, { ...base, calibration } as ShowOptions).then(
      () => assert.unreachable(JSON.stringify(calibration)),
      (error: EspalierError) => assert.is(error.code, 'E_ARGUMENT'),
    );
  }
  pool.close();
});

test('an empty pool leaves the vote as it was; an abort after the last item fits nothing', async () => {
  const pool = await ShotPool.build(model, []);
  const show = await Show.create(pool, base);
  const { vote } = await show.calibrate(dev);
  assert.equal(vote, { neighbours: 32, weight: 1 });
  const abort = new AbortController();
  const settings = show.settings;
  await show
    .calibrate(dev, { signal: abort.signal, onProgress: (done, total) => void (done === total && abort.abort()) })
    .then(
      () => assert.unreachable(),
      (error: EspalierError) => assert.is(error.code, 'E_ABORTED'),
    );
  assert.is(show.settings, settings);
  show.close();
  pool.close();
});

test.after(() => {
  model.close();
  device.close();
  worst.print();
});

test.run();
