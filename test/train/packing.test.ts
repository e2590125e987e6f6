/** Sequences of a step in batches: nothing is lost, nothing is padded, and weights add up to one. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { TrainingSequence } from '../../src/datasets/training/types.ts';
import { uniform } from '../../src/random.ts';
import { packStep } from '../../src/train/packing.ts';
import { code } from '../errors.ts';

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

test('what cannot be packed is refused', () => {
  assert.throws(() => packStep([], 8), code('E_ARGUMENT'));
  assert.throws(() => packStep([sequence(10, 1)], 8), code('E_ARGUMENT'));
  assert.throws(() => packStep([sequence(4, 9)], 8), code('E_DATA_INVALID'));
  assert.is(packStep([sequence(9, 1)], 8).tokens, 8);
});

test.run();
