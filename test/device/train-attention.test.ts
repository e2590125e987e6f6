/** Attention's log-sum-exp and way back: against PyTorch's autograd, a plain f64 program, the device's own way forward, and for any lanes. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { AttentionArguments, Tensor } from '../../src/device/device.ts';
import type { TrainDevice } from '../../src/device/train-device.ts';
import { segmentsOf } from '../../src/device/wasm/attention.ts';
import { WebGpuTrainDevice } from '../../src/device/webgpu/webgpu-train-device.ts';
import { code } from '../errors.ts';
import { fixture } from '../model/shared-files.ts';
import { onGpu, put, putInts, testNothingLeft, testsOn, trainDevices, Worst } from './devices.ts';
import { disposeAll, families, floats, inner, sameBits, sharing, slopeError } from './gradients.ts';
import { randomF32, worstError } from './reference.ts';

const oracle = (await fixture('train-ops.json')).attention;
const all = await trainDevices();
const alike = onGpu ? [] : await families();
const worst = new Worst();

/** Sizes of a call, what rows see, and its numbers. */
interface Case {
  readonly rows: number;
  readonly base: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly window: number;
  /** [rows][3], or null: causal. */
  readonly mask: number[] | null;
}

/** Rows of sequences of these lengths behind one another, each of which sees its own alone. */
function packed(lengths: readonly number[]): number[] {
  let start = 0;
  return lengths.flatMap((length) => {
    const rows = Array.from({ length }, () => [0, 0, start]).flat();
    start += length;
    return rows;
  });
}

function numbersOf({ rows, base, heads, kvHeads, headDim }: Case) {
  const [width, cacheWidth] = [heads * headDim, kvHeads * headDim];
  return {
    q: randomF32(rows * width, 1, 2),
    k: randomF32((base + rows) * cacheWidth, 2, 2),
    v: randomF32((base + rows) * cacheWidth, 3),
    dOut: randomF32(rows * width, 4),
  };
}

/** The formulas, row by row in f64. */
function reference(c: Case, { q, k, v, dOut }: ReturnType<typeof numbersOf>) {
  const { rows, base, heads, kvHeads, headDim, window, mask } = c;
  const scale = 1 / Math.sqrt(headDim);
  const logSumExp = new Float64Array(rows * heads);
  const [dQ, dKeys, dValues] = [q, k, v].map((x) => new Float64Array(x.length)) as [Numbers, Numbers, Numbers];
  const dot = (a: ArrayLike<number>, i: number, b: ArrayLike<number>, j: number) => {
    let sum = 0;
    for (let n = 0; n < headDim; n++) sum += a[i + n]! * b[j + n]!;
    return sum;
  };
  for (let i = 0; i < rows; i++) {
    const own = base + i;
    const [from, limit, self] = mask
      ? [mask[3 * i]!, mask[3 * i + 1]!, mask[3 * i + 2]!]
      : [window ? Math.max(0, own + 1 - window) : 0, own + 1, own + 1];
    const seen = Array.from({ length: base + rows }, (_, j) => j).filter(
      (j) => (j >= from && j < limit) || (j >= self && j <= own),
    );
    for (let h = 0; h < heads; h++) {
      const at = (i * heads + h) * headDim;
      const kv = Math.floor(h / (heads / kvHeads));
      const rowOf = (j: number) => (j * kvHeads + kv) * headDim;
      const scores = seen.map((j) => scale * dot(q, at, k, rowOf(j)));
      const most = Math.max(...scores);
      const lse = most + Math.log(scores.reduce((sum, s) => sum + Math.exp(s - most), 0));
      logSumExp[i * heads + h] = lse;
      const p = scores.map((s) => Math.exp(s - lse));
      const dP = seen.map((j) => dot(dOut, at, v, rowOf(j)));
      const d = p.reduce((sum, x, n) => sum + x * dP[n]!, 0);
      for (const [n, j] of seen.entries()) {
        const dS = scale * p[n]! * (dP[n]! - d);
        for (let x = 0; x < headDim; x++) {
          dQ[at + x]! += dS * k[rowOf(j) + x]!;
          dKeys[rowOf(j) + x]! += dS * q[at + x]!;
          dValues[rowOf(j) + x]! += p[n]! * dOut[at + x]!;
        }
      }
    }
  }
  return { logSumExp, dQ, dKeys, dValues };
}

type Numbers = Float64Array;

interface Tensors extends AttentionArguments {
  readonly logSumExp: Tensor;
  readonly dOut: Tensor;
  readonly dQ: Tensor;
  readonly dKeys: Tensor;
  readonly dValues: Tensor;
}

function tensors(device: TrainDevice, c: Case, numbers: ReturnType<typeof numbersOf>): Tensors {
  const { rows, base, heads, kvHeads, headDim } = c;
  const [mine, cache] = [
    [rows, heads * headDim],
    [base + rows, kvHeads * headDim],
  ];
  return {
    q: put(device, mine!, numbers.q),
    keys: put(device, cache!, numbers.k),
    values: put(device, cache!, numbers.v),
    out: device.tensor('f32', mine!),
    base,
    nHeads: heads,
    nKvHeads: kvHeads,
    headDim,
    scale: 1 / Math.sqrt(headDim),
    window: c.window,
    mask: c.mask && putInts(device, [rows, c.mask.length / rows], c.mask),
    logSumExp: device.tensor('f32', [rows, heads]),
    dOut: put(device, mine!, numbers.dOut),
    dQ: put(device, mine!, numbers.dOut), // is replaced
    dKeys: device.tensor('f32', cache!),
    dValues: device.tensor('f32', cache!),
  };
}

function disposeOf({ q, keys, values, out, mask, logSumExp, dOut, dQ, dKeys, dValues }: Tensors): void {
  disposeAll(q, keys, values, out, mask, logSumExp, dOut, dQ, dKeys, dValues);
}

/** A width of heads: each is kernels of its own on a GPU, which a program that plays one compiles for long, so there is one of those up to 16 there. */
const narrow = (cpu: number): number => (onGpu ? oracle.headDim : cpu);

const CASES: readonly Case[] = [
  // many tiles; heads that are no multiple of 8 wide, and of 4; as many KV heads as heads, one, and more than a block has rows
  { rows: 150, base: 0, heads: 9, kvHeads: 3, headDim: 64, window: 0, mask: null },
  { rows: 75, base: 70, heads: 4, kvHeads: 4, headDim: onGpu ? 9 : 10, window: 0, mask: null },
  { rows: 70, base: 3, heads: 8, kvHeads: 1, headDim: 9, window: 0, mask: null },
  { rows: 12, base: 0, heads: onGpu ? 70 : 61, kvHeads: 1, headDim: narrow(4), window: 0, mask: null },
  { rows: 170, base: 20, heads: 4, kvHeads: 2, headDim: narrow(16), window: 33, mask: null },
  { rows: 1, base: 0, heads: 4, kvHeads: 2, headDim: narrow(16), window: 0, mask: null },
  { rows: 1, base: 90, heads: 4, kvHeads: 2, headDim: narrow(16), window: 0, mask: null },
  // sequences behind one another: one row, a whole tile, several
  { rows: 233, base: 0, heads: 4, kvHeads: 2, headDim: narrow(32), window: 0, mask: packed([1, 64, 100, 3, 65]) },
];

const references = CASES.map((c) => reference(c, numbersOf(c)));

for (const { name, device } of all) {
  const on = testsOn(name, device);
  const read = (t: Tensor) => floats(device, t);

  const compare = async (
    what: string,
    t: Tensors,
    want: Record<'logSumExp' | 'dQ' | 'dKeys' | 'dValues', ArrayLike<number>>,
  ) => {
    device.attention(t);
    device.attentionBackward(t);
    for (const part of ['logSumExp', 'dQ', 'dKeys', 'dValues'] as const) {
      const error = worstError(await read(t[part]), want[part]);
      assert.ok(worst.within(`${what}, ${part}`, error, 3e-6), `${what} ${part} ${error}`);
    }
    // what came before is added to
    device.attentionBackward(t);
    for (const part of ['dQ', 'dKeys', 'dValues'] as const) {
      const factor = part === 'dQ' ? 1 : 2;
      const twice = worstError(
        await read(t[part]),
        Array.from(want[part], (v) => factor * v),
      );
      assert.ok(worst.within(`${what}, added twice`, twice, 3e-6), `${what} ${part} ${twice}`);
    }
  };

  on('attentionBackward equals autograd: causal, windowed, and both masks', async () => {
    const o = oracle;
    const numbers = { q: o.q, k: o.k, v: o.v, dOut: o.dOut };
    for (const kind of ['causal', 'windowed', 'masked', 'wide'] as const) {
      const c = { rows: o.T, base: o.base, heads: o.heads, kvHeads: o.kvHeads, headDim: o.headDim };
      const mask = o.masks[kind] ?? null;
      const t = tensors(device, { ...c, window: kind === 'windowed' ? o.window : 0, mask }, numbers);
      await compare(`attentionBackward ${kind}`, t, o[kind]);
      disposeOf(t);
    }
  });

  on('attentionBackward over many tiles equals a plain f64 program', async () => {
    for (const [i, c] of CASES.entries()) {
      const t = tensors(device, c, numbersOf(c));
      await compare('attentionBackward, many tiles', t, references[i]!);
      disposeOf(t);
    }
  });

  on('a row that sees nothing has no gradient, and gives none', async () => {
    const d = narrow(8);
    const c = { rows: 3, base: 0, heads: 2, kvHeads: 1, headDim: d, window: 0, mask: [0, 0, 0, 0, 0, 2, 0, 0, 2] };
    const numbers = numbersOf(c);
    const t = tensors(device, c, numbers);
    device.attention(t);
    device.attentionBackward(t);
    assert.ok((await read(device.rows(t.dQ, 1, 1))).every((v) => v === 0));
    const [dKeys, dValues] = [await read(t.dKeys), await read(t.dValues)];
    assert.ok([...dKeys, ...dValues].every(Number.isFinite));
    assert.ok(
      [...dKeys.slice(d, 2 * d), ...dValues.slice(d, 2 * d)].every((v) => v === 0),
      'nobody sees the second',
    );
    assert.ok(dValues.slice(2 * d).some((v) => v !== 0));
    disposeOf(t);
  });

  on('attentionBackward is the slope of attention', async () => {
    const c = { rows: 9, base: 0, heads: 4, kvHeads: 2, headDim: narrow(8), window: 0, mask: packed([4, 5]) };
    const numbers = numbersOf(c);
    const t = tensors(device, c, numbers);
    device.attention(t);
    device.attentionBackward(t);
    for (const [what, at, gradient, values] of [
      ['q', t.q, t.dQ, numbers.q],
      ['keys', t.keys, t.dKeys, numbers.k],
      ['values', t.values, t.dValues, numbers.v],
    ] as const) {
      const error = await slopeError(
        async (x) => {
          device.write(at, x);
          device.attention(t);
          device.write(at, values);
          return inner(await read(t.out), numbers.dOut);
        },
        values,
        await read(gradient),
      );
      assert.ok(worst.within(`slope of attention by ${what}, step 1e-2`, error, 1e-3), `${what} ${error}`);
    }
    disposeOf(t);
  });

  on('what does not fit is refused', async () => {
    const c = { rows: 5, base: 0, heads: 4, kvHeads: 2, headDim: 8, window: 0, mask: packed([5]) };
    const t = tensors(device, c, numbersOf(c));
    const [gone, three, narrow] = [
      device.tensor('f32', [5, 32]),
      device.tensor('f32', [3, 4]),
      device.tensor('f32', [5, 16]),
    ];
    gone.dispose();
    const split = { mask: putInts(device, [5, 3], c.mask), factor: 1 };
    const shapes: [string, () => void][] = [
      ['a log-sum-exp of other rows', () => device.attention({ ...t, logSumExp: three })],
      ['a log-sum-exp and a split', () => device.attention({ ...t, split })],
      ['a log-sum-exp of other rows, back', () => device.attentionBackward({ ...t, logSumExp: three })],
      ['dOut of another width', () => device.attentionBackward({ ...t, dOut: narrow })],
      ['dQ of another width', () => device.attentionBackward({ ...t, dQ: narrow })],
      ['dKeys of another width', () => device.attentionBackward({ ...t, dKeys: t.dQ })],
      ['dValues of other rows', () => device.attentionBackward({ ...t, dValues: device.rows(narrow, 0, 4) })],
      ['a mask of other rows', () => device.attentionBackward({ ...t, mask: device.rows(t.mask!, 0, 4) })],
      ['a dQ in whole numbers', () => device.attentionBackward({ ...t, dQ: t.mask! })],
    ];
    for (const [what, run] of shapes) {
      const fits = (error: Error & { code?: string }) => error.code === 'E_SHAPE' && !error.message.includes('shares');
      assert.throws(run, fits, what);
    }
    const shared: [string, () => void][] = [
      [
        'the log-sum-exp and q',
        () =>
          device.attention({ ...t, logSumExp: device.rows(t.q, 0, 5), q: t.q, nHeads: 32, nKvHeads: 16, headDim: 1 }),
      ],
      ['dQ and q', () => device.attentionBackward({ ...t, dQ: t.q })],
      ['dQ and dOut', () => device.attentionBackward({ ...t, dQ: t.dOut })],
      ['dKeys and keys', () => device.attentionBackward({ ...t, dKeys: t.keys })],
      ['dKeys and dValues', () => device.attentionBackward({ ...t, dKeys: t.dValues })],
      ['dValues and values', () => device.attentionBackward({ ...t, dValues: t.values })],
      ['dQ and out', () => device.attentionBackward({ ...t, dQ: t.out })],
    ];
    for (const [what, run] of shared) assert.throws(run, sharing, what);
    assert.throws(() => device.attentionBackward({ ...t, dOut: gone }), code('E_DISPOSED'));
    assert.throws(() => device.attentionBackward({ ...t, logSumExp: gone }), code('E_DISPOSED'));
    assert.throws(() => device.attention({ ...t, logSumExp: gone }), code('E_DISPOSED'));
    disposeOf(t);
    disposeAll(three, narrow, split.mask);
  });
}

test('rows are cut where nobody looks across', () => {
  const cuts = (...masks: number[][]) => segmentsOf(Int32Array.from(masks.flat())).filter((_, i) => i % 4 === 0);
  assert.equal(cuts([0, 0, 0], [0, 0, 0], [0, 0, 2], [0, 0, 3]), [0, 2, 3]);
  assert.equal(segmentsOf(Int32Array.from(packed([2, 3]))), [0, 2, 0, 2, 2, 5, 2, 5]);
  assert.equal(cuts([0, 0, 0], [0, 0, 1], [0, 1, 2]), [0], 'the last sees the first');
  assert.equal(cuts([0, 3, 0], [0, 0, 1], [0, 0, 2], [0, 0, 3]), [0, 3], 'the first sees the third');
  assert.equal(cuts([0, 0, 0], [0, 0, 9], [0, 0, 2]), [0, 1, 2], 'one that sees nothing');
});

test('plain SIMD gives the same bits whichever micro-kernel computes', async () => {
  if (onGpu) return; // its own promise is below
  const plain = all.filter(({ name }) => name.startsWith('plain'));
  assert.ok(plain.length >= 2);
  for (const c of CASES) {
    let want: Float32Array[] | null = null;
    for (const { name, device } of plain) {
      const t = tensors(device, c, numbersOf(c));
      device.attention(t);
      device.attentionBackward(t);
      const got = await Promise.all([t.dQ, t.dKeys, t.dValues].map((x) => floats(device, x)));
      want ??= got;
      assert.equal(got, want, name);
      disposeOf(t);
    }
  }
});

test('any number of lanes gives the same bits', async () => {
  const sizes = { base: 0, heads: 9, kvHeads: 3, headDim: 32, window: 0 };
  for (const c of [
    { ...sizes, rows: 300, mask: packed([37, 130, 1, 100, 32]) },
    { ...sizes, rows: 150, base: 30, window: 70, mask: null },
    { ...sizes, rows: 200, mask: null },
  ]) {
    await sameBits(alike, async (device) => {
      const t = tensors(device, c, numbersOf(c));
      device.attention(t);
      device.attentionBackward(t);
      const results = await Promise.all([t.logSumExp, t.dQ, t.dKeys, t.dValues].map((x) => floats(device, x)));
      disposeOf(t);
      return results;
    });
  }
});

if (onGpu) {
  const { device } = all[0]!;
  /** Enough rows that those of a tile of keys are shared out, several heads to a KV head, and keys beyond the last whole tile. */
  const c = { rows: 260, base: 9, heads: 4, kvHeads: 2, headDim: narrow(16), window: 0, mask: null };

  test('a GPU gives the same bits in every run', async () => {
    const t = tensors(device, c, numbersOf(c));
    device.attention(t);
    const runs: Float32Array[][] = [];
    for (let n = 0; n < 2; n++) {
      for (const x of [t.dKeys, t.dValues]) device.fill(x, 0);
      device.attentionBackward(t);
      runs.push(await Promise.all([t.dQ, t.dKeys, t.dValues].map((x) => floats(device, x))));
    }
    assert.equal(runs[0], runs[1]);
    disposeOf(t);
  });

  test('pieces that a binding holds add up to the same', async () => {
    const small = await WebGpuTrainDevice.create({ bindingLimit: 16_384 });
    for (const mask of [null, packed([100, 160]).map((v, i) => (i % 3 === 2 ? v + c.base : v))]) {
      const numbers = numbersOf(c);
      const want = reference({ ...c, mask }, numbers);
      const t = tensors(small, { ...c, mask }, numbers);
      small.attention(t);
      small.attentionBackward(t);
      for (const part of ['logSumExp', 'dQ', 'dKeys', 'dValues'] as const) {
        const error = worstError(await floats(small, t[part]), want[part]);
        assert.ok(worst.within('attentionBackward, in pieces', error, 3e-6), `${part} ${error}`);
      }
      disposeOf(t);
    }
    small.close();
  });
}

testNothingLeft([...all, ...alike.flat().map((device) => ({ name: 'lanes', device }))], worst);

test.run();
