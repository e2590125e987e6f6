/**
 * Attention where its tiles end: windows, masks, two parts and views at sizes beside multiples of 64, against a plain f64 program; and that a row gets the same
 * bits in any company, whichever kernels compute it, on a GPU as a whole and in pieces that a binding holds.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Device, Tensor } from '../../src/device/device.ts';
import { WebGpuTrainDevice } from '../../src/device/webgpu/webgpu-train-device.ts';
import { code } from '../errors.ts';
import { devices, onGpu, put, putInts, testNothingLeft, testsOn, Worst } from './devices.ts';
import { disposeAll, floats } from './gradients.ts';
import { randomF32, worstError } from './reference.ts';

const all = await devices();
const worst = new Worst();

interface Case {
  readonly rows: number;
  readonly base: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly window: number;
  /** [rows][3 or 6] */
  readonly mask: readonly number[] | null;
  /** Mask and factor. */
  readonly split: readonly [readonly number[], number] | null;
}

const plain = { window: 0, mask: null, split: null };

/** Every row by `of`, given where it stands. */
function masks(rows: number, base: number, of: (own: number, row: number) => readonly number[]): number[] {
  return Array.from({ length: rows }, (_, i) => of(base + i, i)).flat();
}

const CASES: readonly Case[] = [
  // the last tile has one position, all, and all but one
  { rows: 1, base: 64, heads: 3, kvHeads: 1, headDim: 8, ...plain },
  { rows: 2, base: 126, heads: 3, kvHeads: 1, headDim: 8, ...plain },
  { rows: 3, base: 60, heads: 4, kvHeads: 2, headDim: 6, ...plain },
  // a window of one, of a tile, and across two; rows whose tiles begin apart
  { rows: 5, base: 61, heads: 2, kvHeads: 2, headDim: 8, ...plain, window: 1 },
  { rows: 70, base: 130, heads: 2, kvHeads: 1, headDim: 8, ...plain, window: 64 },
  { rows: 1, base: 200, heads: 8, kvHeads: 1, headDim: 8, ...plain, window: 65 },
  // branches over a prefix, a tile and a half of which nobody sees; a row among them sees nothing
  {
    ...{ rows: 9, base: 150, heads: 3, kvHeads: 1, headDim: 8, window: 7, split: null },
    mask: masks(9, 150, (own, i) => (i === 4 ? [0, 0, own + 1] : [i, 20 + i, Math.max(150, own - 2)])),
  },
  {
    ...{ rows: 9, base: 150, heads: 3, kvHeads: 1, headDim: 8, window: 0 },
    mask: masks(9, 150, (own, i) => (i === 2 ? [5, 5, 9, 3, 7, 6] : [0, i, 63, 65, own - i, own - i])),
    split: [masks(9, 150, (_, i) => (i === 3 ? [0, 0, 0, 0, 1, 0] : [60, 70, 128, 129, 158, 158])), 0.6],
  },
];

function numbersOf({ rows, base, heads, kvHeads, headDim }: Case) {
  return {
    q: randomF32(rows * heads * headDim, 11, 2),
    k: randomF32((base + rows) * kvHeads * headDim, 12, 2),
    v: randomF32((base + rows) * kvHeads * headDim, 13),
  };
}

/** Row by row in f64. */
function reference(c: Case, { q, k, v }: ReturnType<typeof numbersOf>): Float64Array {
  const { rows, base, heads, kvHeads, headDim, window, mask, split } = c;
  const out = new Float64Array(rows * heads * headDim);
  const attend = (of: readonly number[] | null, i: number, h: number) => {
    const own = base + i;
    const kv = Math.floor(h / (heads / kvHeads));
    const width = (of?.length ?? 0) / rows;
    const m = of?.slice(i * width, (i + 1) * width) ?? [window ? Math.max(0, own + 1 - window) : 0, own + 1, own + 1];
    const [a, b, d, e, f, g] = (m.length === 6 ? m : [m[0]!, m[1]!, 0, 0, m[2]!, own]) as [
      number,
      number,
      number,
      number,
      number,
      number,
    ];
    const result = new Float64Array(headDim);
    let sum = 0;
    for (let j = 0; j < base + rows; j++) {
      if (!((j >= a && j < b) || (j >= d && j < e) || (j >= f && j <= g))) continue;
      let s = 0;
      for (let n = 0; n < headDim; n++) s += q[(i * heads + h) * headDim + n]! * k[(j * kvHeads + kv) * headDim + n]!;
      const p = Math.exp(s / Math.sqrt(headDim));
      sum += p;
      for (let n = 0; n < headDim; n++) result[n]! += p * v[(j * kvHeads + kv) * headDim + n]!;
    }
    return { sum, result };
  };
  for (let i = 0; i < rows; i++) {
    for (let h = 0; h < heads; h++) {
      const b = attend(mask, i, h);
      const a = split ? attend(split[0], i, h) : null;
      // e^(factor · a) times what A is of the sum
      const weight = a && a.sum > 0 ? a.sum ** split![1] : 0;
      for (let n = 0; n < headDim; n++) {
        const of = weight > 0 ? weight * (a!.result[n]! / a!.sum) : 0;
        out[(i * heads + h) * headDim + n] = weight + b.sum > 0 ? (of + b.result[n]!) / (weight + b.sum) : 0;
      }
    }
  }
  return out;
}

/** Tensors of a case; keys and values are rows of a larger cache, in which all else is NaN. */
function tensors(device: Device, c: Case, { q, k, v }: ReturnType<typeof numbersOf>, before = 3) {
  const { rows, base, heads, kvHeads, headDim, window, mask, split } = c;
  const cache = (x: Float32Array) => {
    const width = kvHeads * headDim;
    const numbers = new Float32Array((before + base + rows + 70) * width).fill(Number.NaN);
    numbers.set(x, before * width);
    return put(device, [numbers.length / width, width], numbers);
  };
  const [keys, values] = [cache(k), cache(v)];
  const made: (Tensor | null)[] = [
    put(device, [rows, heads * headDim], q),
    put(device, [rows, heads * headDim], new Array(rows * heads * headDim).fill(7)),
    mask && putInts(device, [rows, mask.length / rows], mask),
    split && putInts(device, [rows, split[0].length / rows], split[0]),
    keys,
    values,
  ];
  const args = {
    ...{ q: made[0]!, out: made[1]!, base, nHeads: heads, nKvHeads: kvHeads, headDim, window, mask: made[2]! },
    keys: device.rows(keys, before, base + rows + 1),
    values: device.rows(values, before, base + rows + 1),
    scale: 1 / Math.sqrt(headDim),
    split: split && { mask: made[3]!, factor: split[1] },
  };
  return { args, made };
}

for (const { name, device } of all) {
  const on = testsOn(name, device);

  on('attention at the ends of tiles equals a plain f64 program', async () => {
    for (const [i, c] of CASES.entries()) {
      const numbers = numbersOf(c);
      const { args, made } = tensors(device, c, numbers);
      device.attention(args);
      const error = worstError(await floats(device, args.out), reference(c, numbers));
      assert.ok(worst.within('attention, ends of tiles', error, 3e-6), `case ${i}: ${error}`);
      disposeAll(...made);
    }
  });
}

/** So many blocks of rows that each takes its tiles by itself; one row and some take the tiles apart. */
const MANY: Case = { rows: 150, base: 3, heads: 64, kvHeads: 64, headDim: 6, ...plain };

if (onGpu) {
  const { device } = all[0]!;
  const on = testsOn('webgpu', device);

  on('a row gets the same bits in any company', async () => {
    for (const c of [
      MANY,
      { ...MANY, headDim: 8, window: 70 },
      { ...MANY, headDim: 8, mask: masks(150, 3, (own, i) => (i % 7 ? [0, i, 0, 0, own, own] : [9, 80, 0, 0, 1, 0])) },
    ]) {
      const numbers = numbersOf(c);
      const { args, made } = tensors(device, c, numbers);
      device.attention(args);
      const want = await floats(device, args.out);
      assert.ok(worst.within('attention, many blocks', worstError(want, reference(c, numbers)), 3e-6));
      const width = c.heads * c.headDim;
      for (const [first, count] of [
        [0, 1],
        [77, 1],
        [60, 2],
        [9, 40],
      ] as const) {
        // rows of a mask of six stand anywhere: the cache ends where it did
        const base = c.mask ? c.base + c.rows - count : c.base + first;
        device.attention({
          ...{ ...args, base, q: device.rows(args.q, first, count), out: device.rows(args.out, first, count) },
          mask: args.mask && device.rows(args.mask, first, count),
        });
        const got = await floats(device, device.rows(args.out, first, count));
        assert.equal(got, want.slice(first * width, (first + count) * width), `${count} rows from ${first} on`);
      }
      disposeAll(...made);
    }
  });

  on('what is not a number stays visible', async () => {
    const c: Case = { rows: 2, base: 70, heads: 2, kvHeads: 1, headDim: 8, ...plain };
    for (const at of ['q', 'k', 'v'] as const) {
      const numbers = numbersOf(c);
      numbers[at][3] = Number.NaN; // of the first row of q, first head; of the first position
      const { args, made } = tensors(device, c, numbers);
      device.attention(args);
      const got = await floats(device, args.out);
      assert.ok(Number.isNaN(got[3]), at);
      if (at === 'q') assert.ok(got.slice(8).every(Number.isFinite), 'the other rows of heads');
      disposeAll(...made);
    }
  });

  test('pieces that a binding holds give the same bits', async () => {
    const limit = 32_768;
    const small = await WebGpuTrainDevice.create({ bindingLimit: limit });
    for (const c of [
      { rows: 3, base: 1300, heads: 2, kvHeads: 1, headDim: 8, ...plain },
      { rows: 600, base: 7, heads: 2, kvHeads: 1, headDim: 8, ...plain, window: 100 },
      {
        ...{ rows: 300, base: 700, heads: 3, kvHeads: 3, headDim: 12, window: 0 },
        mask: masks(300, 700, (own, i) => [i, 2 * i, own - 5]),
        split: [masks(300, 700, (own) => [0, 5, own + 1]), 0.5] as const,
      },
    ]) {
      const numbers = numbersOf(c);
      const [whole, pieces] = [tensors(device, c, numbers), tensors(small, c, numbers)];
      device.attention(whole.args);
      small.attention(pieces.args);
      assert.equal(await floats(small, pieces.args.out), await floats(device, whole.args.out));
      disposeAll(...whole.made, ...pieces.made);
    }
    const q = small.tensor('f32', [1, 16384]);
    assert.throws(
      () => {
        const heads = { nHeads: 1, nKvHeads: 1, headDim: 16384, scale: 1, window: 0, mask: null };
        small.attention({ q, keys: q, values: q, out: small.tensor('f32', [1, 16384]), base: 0, ...heads });
      },
      code('E_OUT_OF_MEMORY'),
      'a row that no binding holds',
    );
    small.close();
  });
}

testNothingLeft(all, worst);

test.run();
