/** What a forward pass gives out: every row, or the last one alone. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { EspalierError } from '../../src/errors.ts';
import { openLocal } from '../../src/open-local.ts';
import { Worst } from '../device/devices.ts';
import { worstError } from '../device/reference.ts';
import { modelTarget } from '../files.ts';

const model = await openLocal(await modelTarget('models/nano-base'));
const { decoder, device } = model;
const { hiddenSize, nLayers } = decoder.config;
const worst = new Worst();

/** The last row, how often rows came, and the cache, whose keys and values the caller compares. */
async function run(ids: number[], output: 'all' | 'last', mask?: Int32Array) {
  const cache = decoder.cache();
  let row = new Float32Array(0);
  const calls: [first: number, rows: number][] = [];
  await decoder.forward(ids, cache, {
    output,
    ...(mask ? { mask } : {}),
    onChunk: async (hidden, first) => {
      calls.push([first, hidden.shape[0]!]);
      row = ((await device.read(hidden)) as Float32Array<ArrayBuffer>).slice(-hiddenSize);
    },
  });
  return { row, calls, cache };
}

for (const length of [1, 2, 300, 512, 513, 1100]) {
  test(`the last of ${length} rows alone is that row of all, and the cache is the same`, async () => {
    const ids = Array.from({ length }, (_, i) => (i * 131) % 8000);
    const [all, last] = [await run(ids, 'all'), await run(ids, 'last')];
    assert.equal(last.calls, [[length - 1, 1]]);
    assert.is(
      all.calls.reduce((sum, [, rows]) => sum + rows, 0),
      length,
    );
    assert.ok(worst.within('last row', worstError(last.row, all.row), 1e-5));
    assert.equal(last.cache.positions, all.cache.positions);
    for (const kind of ['keys', 'values'] as const) {
      const rows = [all, last].map(({ cache }) => device.read(device.rows(cache[kind](nLayers - 1), 0, length)));
      const [a, b] = (await Promise.all(rows)) as [Float32Array, Float32Array];
      assert.ok(worst.within(`last layer's ${kind}`, worstError(b, a), 1e-6));
    }
    all.cache.dispose();
    last.cache.dispose();
  });
}

test('the last row of a masked branch alone is that row of all', async () => {
  const ids = Array.from({ length: 20 }, (_, i) => 100 + i);
  // two branches of five behind a prefix of ten
  const mask = Int32Array.from(ids.flatMap((_, i) => (i < 10 ? [0, i + 1, i + 1] : [0, 10, i < 15 ? 10 : 15])));
  const [all, last] = [await run(ids, 'all', mask), await run(ids, 'last', mask)];
  assert.ok(worst.within('last row, masked', worstError(last.row, all.row), 1e-5));
  const plain = await run(ids, 'last');
  assert.ok(worstError(plain.row, last.row) > 1e-3, 'the mask matters');
  for (const { cache } of [all, last, plain]) cache.dispose();
});

test('hidden states of all layers and the last row alone exclude each other', async () => {
  const cache = decoder.cache();
  try {
    await decoder.forward([1, 2], cache, { output: 'last', onHidden: () => {} });
    assert.unreachable();
  } catch (error) {
    assert.is((error as EspalierError).code, 'E_ARGUMENT');
  }
  assert.is(cache.length, 0);
  cache.dispose();
});

test('the worst figures', () => {
  worst.print();
  model.close();
});

test.run();
