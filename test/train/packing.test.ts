/** Sequences of a step in batches: nothing is lost, nothing is padded, and weights add up to one. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openTrainingData } from '../../src/datasets/training/data.ts';
import { SequenceEncoder } from '../../src/datasets/training/encode.ts';
import type { TrainingSequence } from '../../src/datasets/training/types.ts';
import { openLocal } from '../../src/open-local.ts';
import { uniform } from '../../src/random.ts';
import { DataHeldOut, DataSteps } from '../../src/train/data-steps.ts';
import { packStep } from '../../src/train/packing.ts';
import { code } from '../errors.ts';
import { modelTarget } from '../files.ts';

/** Ids from `first` on, learned from `from` on. */
function sequence(length: number, from: number, first = 100): TrainingSequence {
  const ids = Int32Array.from({ length }, (_, i) => first + i);
  return { ids, learned: Uint8Array.from({ length }, (_, i) => (i >= from ? 1 : 0)) };
}

test('one batch, as it is written down', () => {
  const { batches, targets, tokens } = packStep([sequence(4, 2, 10), sequence(3, 1, 20)], 8);
  assert.is(targets, 4);
  assert.is(tokens, 5);
  assert.equal(batches, [
    {
      ids: Int32Array.of(10, 11, 12, 20, 21),
      positions: Int32Array.of(0, 1, 2, 0, 1),
      starts: Int32Array.of(0, 0, 0, 3, 3),
      targets: Int32Array.of(-1, 12, 13, 21, 22),
      weights: Float32Array.of(0, 0.25, 0.25, 0.25, 0.25),
    },
  ]);
});

test('many sequences: every row once, whatever the size of batches', () => {
  const list = Array.from({ length: 64 }, (_, i) => {
    const length = 2 + Math.floor(uniform(3, i) * 60);
    return sequence(length, 1 + Math.floor(uniform(4, i) * (length - 1)), 1000 * i);
  });
  const wanted = list.flatMap(({ ids, learned }) =>
    [...ids.subarray(1)].map((id, t) => [ids[t]!, t, learned[t + 1] ? id : -1].join()),
  );
  for (const rows of [61, 100, 256, 5000]) {
    const { batches, targets, tokens } = packStep(list, rows);
    const found = batches.flatMap((batch) =>
      [...batch.ids].map((id, t) => [id, batch.positions[t], batch.targets[t]].join()),
    );
    assert.equal(found.slice().sort(), wanted.slice().sort());
    assert.is(tokens, wanted.length);
    for (const { ids, starts, positions, targets: next, weights } of batches) {
      assert.ok(ids.length > 0 && ids.length <= rows);
      for (let t = 0; t < ids.length; t++) {
        assert.is(starts[t]! + positions[t]!, t);
        assert.is(weights[t], next[t]! < 0 ? 0 : Math.fround(1 / targets));
      }
    }
    const sum = batches.flatMap(({ weights }) => [...weights]).reduce((total, weight) => total + weight, 0);
    console.log(
      `  worst sum of weights with ${rows} rows: 1 ${sum < 1 ? '-' : '+'} ${Math.abs(sum - 1).toExponential(1)}`,
    );
    assert.ok(Math.abs(sum - 1) < 1e-6);
    // first fit decreasing needs at most 11/9 of the least, and a bin
    assert.ok(batches.length <= (11 / 9) * Math.ceil(tokens / rows) + 1, `${batches.length} batches of ${rows}`);
  }
});

test('steps and held-out batches of data', async () => {
  const rows = Array.from({ length: 40 }, (_, i) => JSON.stringify({ prompt: `q${i}`, answer: ` a${i}` }));
  await using data = await openTrainingData(new File([rows.join('\n')], 'a.jsonl'), { heldOut: 0.2, seed: 1 });
  await using model = await openLocal(await modelTarget('models/nano-base'));
  const encoder = new SequenceEncoder(model, { maxTokens: 16 });
  assert.throws(() => new DataSteps(data, encoder, { seed: 1, sequences: 4, rows: 15 }), code('E_ARGUMENT'));
  const steps = new DataSteps(data, encoder, { seed: 1, sequences: 8, rows: 16 });
  const first = await steps.next();
  assert.ok(first.batches.length > 1 && first.batches.every(({ ids }) => ids.length <= 16));
  const { state } = steps;
  const second = await steps.next();
  steps.restore(JSON.parse(JSON.stringify(state)));
  assert.equal(await steps.next(), second);
  assert.throws(() => steps.restore(null), code('E_ARGUMENT'));
  let weight = 0;
  let targets = 0;
  for await (const batch of new DataHeldOut(data, encoder, 20).batches()) {
    for (const own of batch.weights) weight += own;
    targets += batch.targets.filter((id) => id >= 0).length;
  }
  let learned = 0;
  for (const i of data.heldOut)
    for (const one of await encoder.encode(await data.read(i)))
      learned += one.learned.filter((mark) => mark === 1).length;
  assert.is(targets, learned);
  assert.is(weight, learned);
});

test('what cannot be packed is refused', () => {
  assert.throws(() => packStep([], 8), code('E_ARGUMENT'));
  assert.throws(() => packStep([sequence(10, 1)], 8), code('E_ARGUMENT'));
  assert.throws(() => packStep([sequence(4, 9)], 8), code('E_DATA_INVALID'));
  assert.is(packStep([sequence(9, 1)], 8).tokens, 8);
});

test.run();
