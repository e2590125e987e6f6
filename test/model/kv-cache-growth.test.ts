/** The cache of keys and values as it grows, is cut, refused and disposed of. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Device, Tensor } from '../../src/device/device.ts';
import { WasmDevice } from '../../src/device/wasm/wasm-device.ts';
import type { EspalierError } from '../../src/errors.ts';
import type { Decoder } from '../../src/model/decoder.ts';
import { KvCache } from '../../src/model/kv-cache.ts';
import { Worst } from '../device/devices.ts';
import { worstError } from '../device/reference.ts';
import { logitsOf, tinyDecoder, tinyReference } from './tiny.ts';

const worst = new Worst();
const device: Device = await WasmDevice.create();
const KEYS = 1e-5; // of the largest key
const LOGITS = 1e-5; // of the largest logit

const code = (want: string) => (error: EspalierError) => error.code === want;
const read = async (t: Tensor) => (await device.read(t)) as Float32Array;
const range = (from: number, count: number) => Array.from({ length: count }, (_, i) => from + i);
/** All of one side of a piece or cache, layer by layer. */
async function joined(tensors: readonly Tensor[], rows?: number): Promise<number[]> {
  const all: number[] = [];
  for (const t of tensors) all.push(...(await read(rows === undefined ? t : device.rows(t, 0, rows))));
  return all;
}
async function tiny(run: (decoder: Decoder) => Promise<void>): Promise<void> {
  const before = device.stats().tensors;
  const decoder = await tinyDecoder('llama-gqa', device, 'exact');
  await run(decoder);
  decoder.dispose();
  assert.is(device.stats().tensors, before, 'tensors left');
}
const { ids } = await tinyReference('llama-gqa');

test('growing keeps the content', () =>
  tiny(async (decoder) => {
    const grown = decoder.cache();
    assert.is(grown.capacity, 0);
    assert.is(grown.byteLength, 0);
    await logitsOf(decoder, grown, ids.slice(0, 8));
    const { capacity } = grown;
    assert.ok(capacity >= 8);
    const { nLayers, nKvHeads, headDim, maxPositions } = decoder.config;
    assert.is(grown.byteLength, 8 * nLayers * capacity * nKvHeads * headDim);
    const keys = await joined([grown.keys(1)], 8);
    const values = await joined([grown.values(1)], 8);
    const tensors = device.stats().tensors;
    grown.reserve(capacity); // nothing to do
    assert.is(grown.capacity, capacity);
    assert.is(capacity, Math.min(64, maxPositions));
    assert.is(device.stats().tensors, tensors);
    assert.equal(await joined([grown.keys(1)], 8), keys);
    assert.equal(await joined([grown.values(1)], 8), values);
    grown.dispose();
  }));

test('growing beyond the first size copies what is there and frees the old', () =>
  tiny(async (decoder) => {
    const long = { ...decoder.config, maxPositions: 1000 };
    const cache = new KvCache(device, long, decoder.ropes, 10);
    assert.is(cache.capacity, 64);
    await logitsOf(decoder, cache, ids);
    const before = [await joined([cache.keys(0)], 16), await joined([cache.values(1)], 16)];
    const { tensors } = device.stats();
    cache.reserve(65);
    assert.is(cache.capacity, 96);
    cache.reserve(500);
    assert.is(cache.capacity, 500);
    cache.reserve(900);
    assert.is(cache.capacity, 900);
    cache.reserve(901); // half as much again would be more than there is
    assert.is(cache.capacity, 1000);
    assert.is(device.stats().tensors, tensors);
    assert.equal([await joined([cache.keys(0)], 16), await joined([cache.values(1)], 16)], before);
    assert.is(cache.keys(0).shape[0], 1000);
    cache.dispose();
  }));

test('views are made once for each size, and what an empty cache held is gone before it grows', () =>
  tiny(async (decoder) => {
    const cache = new KvCache(device, { ...decoder.config, maxPositions: 1 << 16 }, decoder.ropes, 64);
    assert.is(cache.keys(1), cache.keys(1));
    const { bytes } = device.stats();
    const small = cache.byteLength;
    cache.reserve(1 << 16);
    assert.is(device.stats().bytes, bytes - small + cache.byteLength);
    assert.ok(device.stats().peakBytes < bytes + cache.byteLength + (4 << 20), 'old and new stood beside each other');
    cache.dispose();
  }));

test('where memory is short a cache grows by what is needed, and one that cannot grow keeps what it has', async () => {
  const MiB = 1 << 20;
  const limited = await WasmDevice.create({ memoryLimit: 20 * MiB });
  const decoder = await tinyDecoder('llama-gqa', limited, 'exact');
  const { nLayers, nKvHeads, headDim } = decoder.config;
  const rows = Math.floor((4 * MiB) / (4 * nLayers * nKvHeads * headDim));
  const cache = new KvCache(limited, { ...decoder.config, maxPositions: 10 * rows }, decoder.ropes, rows);
  await logitsOf(decoder, cache, ids);
  const all = async () => [
    await limited.read(limited.rows(cache.keys(1), 0, 16)),
    await limited.read(limited.rows(cache.values(0), 0, 16)),
  ];
  const before = await all();
  cache.reserve(rows + 1); // half as much again would be 20 MiB beside what the model has
  assert.is(cache.capacity, rows + 1);
  assert.equal(await all(), before);
  assert.throws(() => cache.reserve(3 * rows), code('E_OUT_OF_MEMORY'));
  assert.is(cache.capacity, rows + 1);
  assert.equal(await all(), before);
  await logitsOf(decoder, cache, ids); // and is still of use, though one side may have grown
  assert.is(cache.length, 2 * ids.length);
  cache.dispose();
  decoder.dispose();
  assert.is(limited.stats().tensors, 0);
  limited.close();
});

test('truncating forgets the rows behind', () =>
  tiny(async (decoder) => {
    const cache = decoder.cache();
    await logitsOf(decoder, cache, ids);
    cache.truncate(5);
    assert.is(cache.length, 5);
    const got = await logitsOf(decoder, cache, [9, 8, 7]);
    cache.truncate(0);
    const want = await logitsOf(decoder, cache, [...ids.slice(0, 5), 9, 8, 7]);
    const error = worstError(got, want.subarray(5 * decoder.config.vocabSize));
    assert.ok(worst.within('continuing a truncated cache: logits', error, LOGITS), `${error}`);
    cache.dispose();
  }));

test('what cannot be is refused, and leaves the cache as it was', () =>
  tiny(async (decoder) => {
    const cache = decoder.cache();
    await logitsOf(decoder, cache, ids.slice(0, 8));
    const piece = cache.extract(0, 8);
    const keys = await joined([cache.keys(0)], 8);
    const refuse = (want: string, run: () => unknown) => assert.throws(run, code(want));
    for (const n of [-1, 9, 1.5, Number.NaN]) refuse('E_ARGUMENT', () => cache.truncate(n));
    for (const [from, to] of [
      [-1, 4],
      [0, 9],
      [4, 4],
      [5, 4],
      [0.5, 4],
      [0, Number.NaN],
    ] as const) {
      refuse('E_ARGUMENT', () => cache.extract(from, to));
      if (from !== to) refuse('E_ARGUMENT', () => cache.shift(from, to, 1));
    }
    for (const delta of [-1, 57, 0.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      refuse('E_ARGUMENT', () => cache.shift(0, 8, delta));
    }
    refuse('E_CONTEXT_LENGTH', () => cache.reserve(65));
    for (const position of [57, 64, -1, 0.5]) refuse('E_CONTEXT_LENGTH', () => cache.place(piece, position));
    const refuseForward = async (want: string, ids: readonly number[], options: object) => {
      try {
        await decoder.forward(ids, cache, options);
      } catch (error) {
        assert.is((error as EspalierError).code, want, `${error}`);
        return;
      }
      assert.unreachable(`${want} for ${JSON.stringify(options)}`);
    };
    await refuseForward('E_CONTEXT_LENGTH', Array(57).fill(1), {});
    for (const bad of [-1, 104, 1.5, Number.NaN]) await refuseForward('E_ARGUMENT', [1, bad], {});
    await refuseForward('E_ARGUMENT', [1, 2], { mask: new Int32Array(3) });
    await refuseForward('E_ARGUMENT', [1, 2], { positions: [8] });
    await refuseForward('E_ARGUMENT', [1, 2], { positions: [8, -1] });
    await refuseForward('E_ARGUMENT', [1, 2], { positions: [8, 8.5] });
    await refuseForward('E_CONTEXT_LENGTH', [1, 2], { positions: [63, 64] });
    cache.shift(0, 8, 56); // the last row stands at the last position: nothing can follow
    await refuseForward('E_CONTEXT_LENGTH', [1], {});
    cache.shift(0, 8, -56);
    assert.is(cache.length, 8);
    assert.equal(cache.positions, range(0, 8));
    const error = worstError(await joined([cache.keys(0)], 8), keys);
    assert.ok(worst.within('after refusals: keys', error, KEYS), `${error}`);
    piece.dispose();
    cache.dispose();
  }));

test('an abort in the middle of a prefill leaves the cache as it was', () =>
  tiny(async (decoder) => {
    const cache = decoder.cache();
    await logitsOf(decoder, cache, ids.slice(0, 8));
    const { scratchBytes } = device.stats();
    const controller = new AbortController();
    const mark = device.mark();
    try {
      await decoder.forward(ids.slice(8), cache, {
        signal: controller.signal,
        onHidden: (layer) => {
          if (layer === 1) controller.abort();
        },
      });
      assert.unreachable('not aborted');
    } catch (error) {
      assert.is((error as EspalierError).code, 'E_ABORTED');
    }
    assert.is(cache.length, 8);
    assert.equal(device.mark(), mark);
    assert.is(device.stats().scratchBytes, scratchBytes);
    const got = await logitsOf(decoder, cache, ids.slice(8));
    cache.truncate(0);
    const want = await logitsOf(decoder, cache, ids);
    const error = worstError(got, want.subarray(8 * decoder.config.vocabSize));
    assert.ok(worst.within('after an abort: logits', error, LOGITS), `${error}`);
    cache.dispose();
  }));

test('a disposed cache is refused everywhere, and disposing twice is allowed', () =>
  tiny(async (decoder) => {
    const before = device.stats();
    const cache = decoder.cache(20);
    await logitsOf(decoder, cache, ids);
    const piece = cache.extract(0, 4);
    // the cache, a piece by layer, and two RoPE tables
    assert.is(device.stats().tensors - before.tensors, 2 + 2 * decoder.config.nLayers + 2);
    cache.dispose();
    cache.dispose();
    const uses: (() => unknown)[] = [
      () => cache.reserve(10),
      () => cache.truncate(0),
      () => cache.extract(0, 1),
      () => cache.place(piece),
      () => cache.shift(0, 1, 1),
    ];
    for (const use of uses) assert.throws(use, code('E_DISPOSED'));
    try {
      await decoder.forward([1], cache);
      assert.unreachable();
    } catch (error) {
      assert.is((error as EspalierError).code, 'E_DISPOSED');
    }
    piece.dispose();
    piece.dispose();
    const other = decoder.cache();
    assert.throws(() => other.place(piece, 3), code('E_DISPOSED'));
    assert.is(other.length, 0);
    other.dispose();
    assert.is(device.stats().tensors - before.tensors, 2);
  }));

test('the worst figures', () => {
  worst.print();
  assert.is(device.stats().tensors, 0);
  device.close();
});
test.run();
