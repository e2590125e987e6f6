/** The cache: pieces taken out before RoPE and placed anywhere, moves, branches. Against plain prefills. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Device, Tensor } from '../../src/device/device.ts';
import { WasmDevice } from '../../src/device/wasm/wasm-device.ts';
import type { Decoder } from '../../src/model/decoder.ts';
import type { KvPiece } from '../../src/model/kv-cache.ts';
import { Worst } from '../device/devices.ts';
import { worstError } from '../device/reference.ts';
import { logitsOf, tinyDecoder, tinyReference } from './tiny.ts';

const worst = new Worst();
const device: Device = await WasmDevice.create();
const KEYS = 1e-5; // of the largest key
const LOGITS = 1e-5; // of the largest logit

const read = async (t: Tensor) => (await device.read(t)) as Float32Array;
const range = (from: number, count: number) => Array.from({ length: count }, (_, i) => from + i);

/** All of one side of a piece or cache, layer by layer. */
async function joined(tensors: readonly Tensor[], rows?: number): Promise<number[]> {
  const all: number[] = [];
  for (const t of tensors) all.push(...(await read(rows === undefined ? t : device.rows(t, 0, rows))));
  return all;
}
const layers = (decoder: Decoder) => range(0, decoder.config.nLayers);

async function piecesAgree(title: string, a: KvPiece, b: KvPiece, bound = KEYS): Promise<void> {
  const keys = worstError(await joined(a.keys), await joined(b.keys));
  assert.ok(worst.within(`${title}: keys, of the largest`, keys, bound), `${keys}`);
  const values = worstError(await joined(a.values), await joined(b.values));
  assert.ok(worst.within(`${title}: values, of the largest`, values, bound), `${values}`);
}

const MODELS = [
  'llama-gqa',
  'qwen3',
  'llama-yarn',
  'gguf-qwen2-partial-rotary',
  'gguf-llama-rope-llama3',
  'smollm3',
  'gemma3-rope-parameters',
];

for (const name of MODELS) {
  const { ids: all } = await tinyReference(name);
  const ids = all.slice(0, 8);
  const on = (title: string, run: (decoder: Decoder) => Promise<void>) =>
    test(`${title} [${name}]`, async () => {
      const before = device.stats().tensors;
      const decoder = await tinyDecoder(name, device, 'exact');
      await run(decoder);
      decoder.dispose();
      assert.is(device.stats().tensors, before, 'tensors left');
    });

  on('a piece does not depend on where it stood', async (decoder) => {
    // only a first layer's keys depend on nothing but token and position; later ones see relative distances, which are equal
    const low = decoder.cache();
    const high = decoder.cache();
    await logitsOf(decoder, low, ids);
    await logitsOf(decoder, high, ids, { positions: range(37, 8) });
    const rotated = worstError(await joined([low.keys(0)], 8), await joined([high.keys(0)], 8));
    assert.ok(rotated > 1e-2, 'in the cache they do depend on it');
    const [a, b] = [low.extract(0, 8), high.extract(0, 8)];
    await piecesAgree('pieces from two places', a, b);
    // a part of it is that part
    const part = high.extract(3, 6);
    assert.is(part.length, 3);
    const width = part.keys[0]!.shape[1]!;
    assert.equal(await read(part.keys[0]!), await read(device.rows(b.keys[0]!, 3, 3)));
    assert.is(part.values[0]!.shape[1], width);
    for (const piece of [a, b, part]) piece.dispose();
    low.dispose();
    high.dispose();
  });

  on('a piece placed elsewhere continues as a prefill there', async (decoder) => {
    const from = decoder.cache();
    await logitsOf(decoder, from, ids.slice(0, 5));
    const piece = from.extract(0, 5);
    const placed = decoder.cache();
    placed.place(piece, 20);
    assert.equal(placed.positions, range(20, 5));
    const plain = decoder.cache();
    await logitsOf(decoder, plain, ids.slice(0, 5), { positions: range(20, 5) });
    for (const layer of layers(decoder)) {
      const error = worstError(await joined([placed.keys(layer)], 5), await joined([plain.keys(layer)], 5));
      assert.ok(worst.within('placed against prefilled: keys in the cache', error, KEYS), `${error}`);
    }
    const got = await logitsOf(decoder, placed, ids.slice(5)); // follows on at 25
    const want = await logitsOf(decoder, plain, ids.slice(5), { positions: range(25, 3) });
    const error = worstError(got, want);
    assert.ok(worst.within('continuing a placed piece: logits, of the largest', error, LOGITS), `${error}`);
    assert.equal(placed.positions, range(20, 8));
    // one piece, twice in one cache
    const twice = decoder.cache();
    twice.place(piece);
    twice.place(piece);
    assert.equal(twice.positions, range(0, 10));
    assert.is(twice.length, 10);
    piece.dispose();
    for (const cache of [from, placed, plain, twice]) cache.dispose();
  });

  on('a shift is an extract and a place', async (decoder) => {
    const shifted = decoder.cache();
    await logitsOf(decoder, shifted, ids);
    const piece = shifted.extract(4, 8);
    shifted.shift(4, 8, 30);
    assert.equal(shifted.positions, [0, 1, 2, 3, 34, 35, 36, 37]);
    const placed = decoder.cache();
    await logitsOf(decoder, placed, ids);
    placed.truncate(4);
    placed.place(piece, 34);
    for (const layer of layers(decoder)) {
      const keys = worstError(await joined([shifted.keys(layer)], 8), await joined([placed.keys(layer)], 8));
      assert.ok(worst.within('shift against extract and place: keys', keys, KEYS), `${keys}`);
      assert.equal(await joined([shifted.values(layer)], 8), await joined([placed.values(layer)], 8));
    }
    // and back again
    shifted.shift(4, 8, -30);
    const fresh = decoder.cache();
    await logitsOf(decoder, fresh, ids);
    const back = worstError(await joined([shifted.keys(0)], 8), await joined([fresh.keys(0)], 8));
    assert.ok(worst.within('there and back: keys', back, KEYS), `${back}`);
    piece.dispose();
    for (const cache of [shifted, placed, fresh]) cache.dispose();
  });

  on('many moves leave keys as long as they were', async (decoder) => {
    const { headDim, nKvHeads } = decoder.config;
    const norms = async (t: Tensor) => {
      const data = await read(device.rows(t, 0, 8));
      return Array.from({ length: 8 * nKvHeads }, (_, i) =>
        Math.hypot(...data.subarray(i * headDim, (i + 1) * headDim)),
      );
    };
    const cache = decoder.cache();
    await logitsOf(decoder, cache, ids);
    const before = await norms(cache.keys(0));
    for (let i = 0; i < 100; i++) cache.shift(0, 8, i % 2 === 0 ? 41 : -41);
    assert.equal(cache.positions, range(0, 8));
    const moved = worstError(await norms(cache.keys(0)), before);
    assert.ok(worst.within('100 shifts: key lengths', moved, 2e-5), `${moved}`);
    let piece = cache.extract(0, 8);
    for (let i = 0; i < 20; i++) {
      const next = decoder.cache();
      next.place(piece, (i * 13) % 56);
      const again = next.extract(0, 8);
      piece.dispose();
      next.dispose();
      piece = again;
    }
    const there = decoder.cache();
    there.place(piece, 0);
    const round = worstError(await norms(there.keys(0)), before);
    assert.ok(worst.within('20 times out and in: key lengths', round, 2e-5), `${round}`);
    // before RoPE the attention factor is not in them: exactly once in the cache
    const { attentionFactor } = decoder.ropes.main;
    assert.is(attentionFactor !== 1, name === 'llama-yarn');
    if (decoder.config.rope.rotaryDims === headDim) {
      const bare = await norms(piece.keys[0]!);
      const factor = worstError(
        bare.map((n) => n * attentionFactor),
        before,
      );
      assert.ok(worst.within('attention factor exactly once: key lengths', factor, 2e-5), `${factor}`);
    }
    piece.dispose();
    there.dispose();
    cache.dispose();
  });

  on('branches behind a shared prefix equal separate runs', async (decoder) => {
    const prefix = ids.slice(0, 4);
    const branches = [ids.slice(4, 7), [ids[7]!, ids[0]!, ids[5]!], [ids[2]!]];
    const separate: number[] = [];
    for (const branch of branches) {
      const cache = decoder.cache();
      await logitsOf(decoder, cache, prefix);
      separate.push(...(await logitsOf(decoder, cache, branch)));
      cache.dispose();
    }
    const cache = decoder.cache();
    await logitsOf(decoder, cache, prefix);
    const mask: number[] = [];
    const positions: number[] = [];
    let row = prefix.length;
    for (const branch of branches) {
      const self = row;
      for (const i of branch.keys()) {
        mask.push(0, prefix.length, self);
        positions.push(prefix.length + i);
        row++;
      }
    }
    const together = await logitsOf(decoder, cache, branches.flat(), { positions, mask: Int32Array.from(mask) });
    const error = worstError(together, separate);
    assert.ok(worst.within('branches against separate runs: logits', error, LOGITS), `${error}`);
    // without the mask a later branch would see an earlier one
    cache.truncate(prefix.length);
    assert.ok(worstError(await logitsOf(decoder, cache, branches.flat(), { positions }), separate) > 1e-3);
    cache.dispose();
  });

  on('a mask can hide the start of the prefix', async (decoder) => {
    // rows from 3 on see no row before: they equal a run that never had those, at the same positions
    const cache = decoder.cache();
    const whole = await logitsOf(decoder, cache, ids);
    cache.truncate(0);
    const mask = Int32Array.from(ids.flatMap((_, i) => (i < 3 ? [0, i + 1, i + 1] : [3, 3, 3])));
    const got = await logitsOf(decoder, cache, ids, { mask });
    const behind = 3 * decoder.config.vocabSize;
    const plain = decoder.cache();
    const want = await logitsOf(decoder, plain, ids.slice(3), { positions: range(3, 5) });
    const error = worstError(got.subarray(behind), want);
    assert.ok(worst.within('hidden rows against rows that never were: logits', error, LOGITS), `${error}`);
    assert.ok(worstError(got.subarray(behind), whole.subarray(behind)) > 1e-3);
    plain.dispose();
    cache.dispose();
  });
}

test('the worst figures', () => {
  worst.print();
  assert.is(device.stats().tensors, 0);
  device.close();
});
test.run();
