// device: webgpu — what only a GPU has
/**
 * Products together with norm, activation and addition: to the bit what these give one after another, and what a plain f64 program gives; at tails of vectors,
 * lanes and rows, for every type of weight, and for views that no vector of four fits.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { GatedActivation, Tensor } from '../../src/device/device.ts';
import { fusedOf } from '../../src/device/fused-device.ts';
import { WebGpuDevice } from '../../src/device/webgpu/webgpu-device.ts';
import { code } from '../errors.ts';
import { put, testNothingLeft, testsOn, Worst } from './devices.ts';
import { product, randomF32, worstError } from './reference.ts';
import { type Stored, stored } from './sources.ts';

const gpu = await WebGpuDevice.create({ debug: true });
/** One that binds so little that large weights go in pieces, or one by one. */
const small = await WebGpuDevice.create({ debug: true, bindingLimit: 65_536 });
const all = [
  { name: 'webgpu', device: gpu },
  { name: 'webgpu, small bindings', device: small },
];
const worst = new Worst();
const EPS = 1e-5;

interface Case {
  readonly rows: number;
  readonly k: number;
  readonly widths: readonly number[];
  readonly type: Stored;
}

const CASES: readonly Case[] = [
  { rows: 1, k: 576, widths: [576, 192, 192], type: 'f16' }, // SmolLM2's
  { rows: 1, k: 60, widths: [33, 34], type: 'f32' }, // a norm of 32 invocations
  { rows: 1, k: 39, widths: [11, 12], type: 'f32' }, // no vectors of four
  { rows: 1, k: 96, widths: [24, 24, 9], type: 'q4_1' },
  { rows: 5, k: 132, widths: [20, 20], type: 'f32' }, // more rows than are normed as they are read
];

for (const { name, device } of all) {
  const on = testsOn(name, device);
  // each kernel takes seconds to compile where a program plays the GPU
  const cases = device === gpu ? CASES : CASES.slice(0, 1);
  /** Rows behind another of the same width, so that they begin where their width lets them. */
  const view = (made: Tensor[], [rows, width]: readonly [number, number], seed: number): Tensor => {
    const t = device.tensor('f32', [rows + 1, width]);
    made.push(t);
    device.write(t, randomF32(rows * width, seed), width);
    return device.rows(t, 1, rows);
  };

  on('normLinear is rmsNorm and linear, to the bit, and a plain program', async () => {
    for (const [n, { rows, k, widths, type }] of cases.entries()) {
      const made: Tensor[] = [];
      const x = view(made, [rows, k], 1);
      const norm = view(made, [1, k], 2);
      const weights: Tensor[] = [];
      for (const [i, width] of widths.entries()) weights.push(await device.loadMatrix(stored(type, width, k, i + 3)));
      const outs = widths.map((width) => device.tensor('f32', [rows, width]));
      const wants = widths.map((width) => device.tensor('f32', [rows, width]));
      const normed = device.tensor('f32', [rows, k]);
      device.normLinear(x, norm, EPS, weights, outs);
      device.rmsNorm(x, norm, normed, EPS);
      device.linear(normed, weights, wants, 'exact', true);
      const got = (await device.read(outs)) as Float32Array[];
      assert.equal(got, await device.read(wants), `case ${n}`);
      if (type === 'f32') {
        const reference = normedF64(randomF32(rows * k, 1), randomF32(k, 2), rows, k);
        for (const [i, width] of widths.entries()) {
          const want = product(rows, width, k, reference, randomF32(width * k, i + 3), { transposeB: true });
          const error = worstError(got[i]!, want);
          assert.ok(worst.within('normLinear', error, 1e-6), `case ${n}: ${error}`);
        }
      }
      for (const t of [...made, ...weights, ...outs, ...wants, normed]) t.dispose();
    }
  });

  on('normGated is normLinear and gatedActivation, to the bit, and a plain program', async () => {
    for (const [n, { rows, k, widths, type }] of cases.entries()) {
      for (const kind of n === 1 ? (['silu', 'gelu-tanh'] as const) : (['silu'] as const)) {
        const width = widths[0]!;
        const made: Tensor[] = [];
        const [x, norm] = [view(made, [rows, k], 1), view(made, [1, k], 2)];
        const [gate, up] = [
          await device.loadMatrix(stored(type, width, k, 4)),
          await device.loadMatrix(stored(type, width, k, 7)),
        ];
        const [out, want, other] = [0, 1, 2].map(() => device.tensor('f32', [rows, width])) as [Tensor, Tensor, Tensor];
        const normed = device.tensor('f32', [rows, k]);
        device.normGated(kind, x, norm, EPS, gate, up, out);
        device.rmsNorm(x, norm, normed, EPS);
        device.linear(normed, [gate, up], [want, other], 'exact', true);
        device.gatedActivation(kind, want, other, want);
        const got = (await device.read(out)) as Float32Array;
        assert.equal(got, await device.read(want), `case ${n}, ${kind}`);
        if (type === 'f32') {
          const reference = normedF64(randomF32(rows * k, 1), randomF32(k, 2), rows, k);
          const [g, u] = [4, 7].map((seed) =>
            product(rows, width, k, reference, randomF32(width * k, seed), { transposeB: true }),
          );
          const error = worstError(
            got,
            g!.map((value, i) => activated(kind, value) * u![i]!),
          );
          assert.ok(worst.within('normGated', error, 3e-6), `case ${n}, ${kind}: ${error}`);
        }
        for (const t of [...made, gate, up, out, want, other, normed]) t.dispose();
      }
    }
  });

  on('addLinear is linear and add, to the bit, and a plain program', async () => {
    for (const [n, { rows, k, widths, type }] of cases.entries()) {
      const width = widths[0]!;
      const x = put(device, [rows, k], randomF32(rows * k, 1));
      const weight = await device.loadMatrix(stored(type, width, k, 3));
      const [residual, want] = [0, 1].map(() => put(device, [rows, width], randomF32(rows * width, 8)));
      const term = device.tensor('f32', [rows, width]);
      device.addLinear(x, weight, residual!);
      device.linear(x, [weight], [term], 'exact', true);
      device.add(term, want!);
      const got = (await device.read(residual!)) as Float32Array;
      assert.equal(got, await device.read(want!), `case ${n}`);
      if (type === 'f32') {
        const sum = product(rows, width, k, randomF32(rows * k, 1), randomF32(width * k, 3), { transposeB: true });
        const before = randomF32(rows * width, 8);
        const error = worstError(
          got,
          sum.map((value, i) => value + before[i]!),
        );
        assert.ok(worst.within('addLinear', error, 1e-6), `case ${n}: ${error}`);
      }
      for (const t of [x, weight, residual!, want!, term]) t.dispose();
    }
  });

  on('attendLinear is attendEach and addLinear, to the bit', async () => {
    for (const [bases, heads, kvHeads, headDim, n, type] of [
      [[5], 9, 3, 64, 576, 'f16'],
      [[70], 9, 3, 64, 576, 'f16'],
      [[1100], 2, 1, 8, 20, 'f32'], // more tiles than a product puts together
      [[70], 64, 8, 64, 20, 'f32'], // rows that some have workgroup memory for, and others not
      [[70], 128, 16, 64, 20, 'f16'],
      [[300], 4, 2, 8, 33, 'q8_0'],
      [[200], 4, 2, 6, 9, 'f32'],
      [[130, 3, 64], 4, 2, 8, 33, 'f32'],
    ] as const) {
      if (device === small && heads > 9) continue;
      const [rows, width, queryWidth] = [bases.length, kvHeads * headDim, heads * headDim];
      const weight = await device.loadMatrix(stored(type, n, queryWidth, 3));
      const run = async (apart: boolean) => {
        const made: Tensor[] = [];
        const own = (t: Tensor): Tensor => {
          made.push(t);
          return t;
        };
        const [q, k, v] = [queryWidth, width, width].map((w, i) => own(put(device, [rows, w], randomF32(rows * w, i))));
        const [out, residual] = [queryWidth, n].map((w) => own(put(device, [rows, w], randomF32(rows * w, 4))));
        const table = own(put(device, [2, 2, headDim / 2], randomF32(2 * headDim, 5)));
        const sequences = bases.map((base, i) => {
          const [keys, values] = ['keys', 'values'].map((pool) => {
            const t = own(device.tensor('f32', [base + 1, width], { name: pool, more: rows }));
            device.write(t, randomF32(base * width, 10 + i));
            return t;
          });
          return { keys: keys!, values: values!, base, position: i % 2 };
        });
        const args = {
          ...{ q: q!, k: k!, v: v!, out: out!, table, rotation: { rotaryDims: headDim, layout: 'half' as const } },
          ...{ sequences, nHeads: heads, nKvHeads: kvHeads, headDim, scale: 0.3, window: 0 },
        };
        if (apart) {
          device.attendEach(args);
          device.addLinear(args.out, weight, residual!);
        } else device.attendLinear(args, weight, residual!);
        const caches = sequences.flatMap(({ keys, values }) => [keys, values]);
        const got = await device.read([residual!, ...caches]);
        for (const t of made) t.dispose();
        return got;
      };
      assert.equal(await run(false), await run(true), `${heads} heads behind ${bases.join(', ')}`);
      weight.dispose();
    }
  });

  on('a row gets the bits that it gets alone', async () => {
    const [rows, k, n] = [11, 576, 40];
    const [x, norm] = [put(device, [rows, k], randomF32(rows * k, 1)), put(device, [k], randomF32(k, 2))];
    const [gate, up] = [
      await device.loadMatrix(stored('f16', n, k, 1)),
      await device.loadMatrix(stored('f16', n, k, 2)),
    ];
    const [outs, one] = [device.tensor('f32', [rows, n]), device.tensor('f32', [1, n])];
    device.normGated('silu', x, norm, EPS, gate, up, outs);
    const together = (await device.read(outs)) as Float32Array;
    for (let r = 0; r < rows; r++) {
      device.normGated('silu', device.rows(x, r, 1), norm, EPS, gate, up, one);
      assert.equal(await device.read(one), together.slice(r * n, (r + 1) * n), `row ${r}`);
    }
    for (const t of [x, norm, gate, up, outs, one]) t.dispose();
  });

  on('what does not fit is refused', async () => {
    const f = (...shape: number[]) => device.tensor('f32', shape);
    const [x, norm, out, short, long] = [f(2, 8), f(8), f(2, 4), f(7), f(9)] as const;
    const [w, wide] = [
      await device.loadMatrix(stored('f32', 4, 8, 1)),
      await device.loadMatrix(stored('f32', 5, 8, 1)),
    ];
    device.normLinear(x, norm, EPS, [w], [out]);
    device.normGated('silu', x, norm, EPS, w, w, out);
    device.addLinear(x, w, out);
    for (const wrong of [
      () => device.normLinear(x, short, EPS, [w], [out]),
      () => device.normLinear(x, norm, EPS, [wide], [out]),
      () => device.normLinear(x, norm, EPS, [w, w], [out]),
      () => device.normLinear(x, norm, EPS, [w, w], [out, out]),
      () => device.normGated('silu', x, norm, EPS, w, wide, out),
      () => device.normGated('silu', x, long, EPS, w, w, out),
      () => device.addLinear(x, wide, out),
      () => device.addLinear(x, w, x),
    ]) {
      assert.throws(wrong, code('E_SHAPE'));
    }
    await device.flush();
    for (const t of [x, norm, out, short, long, w, wide]) t.dispose();
    assert.throws(() => device.addLinear(x, w, out), code('E_DISPOSED'));
  });
}

test('the device says that it has them', () => {
  assert.is(fusedOf(gpu), gpu);
});

testNothingLeft(all, worst);

/** rmsNorm in f64. */
function normedF64(x: Float32Array, weight: Float32Array, rows: number, k: number): Float64Array {
  const out = new Float64Array(rows * k);
  for (let r = 0; r < rows; r++) {
    let sum = 0;
    for (let i = 0; i < k; i++) sum += x[r * k + i]! ** 2;
    for (let i = 0; i < k; i++) out[r * k + i] = (x[r * k + i]! / Math.sqrt(sum / k + EPS)) * weight[i]!;
  }
  return out;
}

function activated(kind: GatedActivation, x: number): number {
  if (kind === 'silu') return x / (1 + Math.exp(-x));
  return 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
}

test.run();
