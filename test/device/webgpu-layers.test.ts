// device: webgpu — asks what only a GPU has
/** Layers, sums and rows where a GPU could break them: in pieces, unaligned, in more workgroups than one row of them holds, and with what is no number. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Tensor } from '../../src/device/device.ts';
import { WebGpuTrainDevice } from '../../src/device/webgpu/webgpu-train-device.ts';
import { put, testNothingLeft, testsOn, Worst } from './devices.ts';
import { disposeAll, floats } from './gradients.ts';
import { randomF32, worstError } from './reference.ts';

const device = await WebGpuTrainDevice.create({ debug: true });
const pieces = await WebGpuTrainDevice.create({ bindingLimit: 16384, debug: true });
const worst = new Worst();
const on = testsOn('webgpu', device);

/** What an operation makes of tensors [rows, width] and others; the first are of equal shape, and written by it in any order. */
type Run = (on: WebGpuTrainDevice, t: readonly Tensor[], row: readonly Tensor[], column: Tensor) => void;

/** Each element or row by itself: the same bits however it is cut. */
const EXACT: Readonly<Record<string, Run>> = {
  add: (on, [x, y]) => on.add(x!, y!),
  axpy: (on, [x, y]) => on.axpy(0.3, x!, y!),
  scale: (on, [x]) => on.scale(x!, 0.3),
  fill: (on, [x]) => on.fill(x!, 0.3),
  addBias: (on, [x], [bias]) => on.addBias(bias!, x!),
  scaleRows: (on, [x, y], _, c) => on.scaleRows(x!, c, 1, y!),
  'scaleRows in place': (on, [x], _, c) => on.scaleRows(x!, c, 2, x!),
  scaleRowsBackward: (on, [x, dY, dX], _, c) => on.scaleRowsBackward(x!, c, 1, dY!, dX!, null),
  softmax: (on, [x]) => on.softmax(x!),
  rmsNorm: (on, [x, y], [weight]) => on.rmsNorm(x!, weight!, y!, 1e-5),
  'rmsNorm in place': (on, [x], [weight]) => on.rmsNorm(x!, weight!, x!, 1e-5),
  addRmsNorm: (on, [x, y, z], [weight]) => on.addRmsNorm(x!, y!, weight!, z!, 1e-5),
  rmsNormBackward: (on, [x, dY, dX], [weight]) => on.rmsNormBackward(x!, weight!, dY!, 1e-5, dX!, null),
  silu: (on, [x, y, z]) => on.gatedActivation('silu', x!, y!, z!),
  'gelu in place': (on, [x, y]) => on.gatedActivation('gelu-tanh', x!, y!, x!),
  'silu backward': (on, [x, y, dY, a, b]) => on.gatedActivationBackward('silu', x!, y!, dY!, a!, b!),
  'gelu backward in place': (on, [x, y, dY]) => on.gatedActivationBackward('gelu-tanh', x!, y!, dY!, x!, y!),
  copyRows: (on, [x, y]) => on.copyRows(x!, y!, 0),
  adamStep: (on, [parameters, gradient, m, v]) =>
    on.adamStep({
      ...{ parameters: parameters!, gradient: gradient!, m: m!, v: v!, step: 2, rate: 0.1, beta1: 0.9, beta2: 0.99 },
      ...{ epsilon: 1e-6, weightDecay: 0.1, gradientScale: 0.5 },
    }),
};

/** Sums over rows: pieces are summed by themselves. */
const SUMS: Readonly<Record<string, Run>> = {
  columnSum: (on, [x], [out]) => on.columnSum(x!, out!),
  sumSquares: (on, [x], [, , one]) => on.sumSquares(x!, one!),
  'rmsNormBackward, weight': (on, [x, dY, dX], [out, weight]) => on.rmsNormBackward(x!, weight!, dY!, 1e-5, dX!, out!),
  'scaleRowsBackward, coefficients': (on, [x, dY], _, c) => {
    const before = on.tensor('f32', c.shape);
    on.cast(c, before);
    on.scaleRowsBackward(x!, before, 1, dY!, null, c);
    before.dispose();
  },
};

/** Tensors of one content on a device; of those [rows, width] rows `first` .. of longer ones, so that they begin anywhere. */
function make(on: WebGpuTrainDevice, rows: number, width: number, first: number) {
  const whole = [1, 2, 3, 4, 5].map((seed) => {
    const values = new Float32Array((rows + first) * width);
    values.set(randomF32(rows * width, seed), first * width);
    return put(on, [rows + first, width], seed === 4 ? values.map(Math.abs) : values);
  });
  const row = [6, 7, 8].map((seed) => put(on, [seed < 8 ? width : 1], randomF32(seed < 8 ? width : 1, seed)));
  const column = put(on, [rows, 3], randomF32(rows * 3, 8));
  return { whole, row, column, views: whole.map((t) => on.rows(t, first, rows)) };
}

async function result(
  on: WebGpuTrainDevice,
  run: Run,
  rows: number,
  width: number,
  first = 0,
): Promise<Float32Array[]> {
  const { whole, row, column, views } = make(on, rows, width, first);
  run(on, views, row, column);
  const got = (await on.read([...views, ...row, column])) as Float32Array[];
  for (const t of whole) if (first > 0) assert.ok((await floats(on, on.rows(t, 0, first))).every((v) => v === 0));
  disposeAll(...whole, ...row, column);
  return got;
}

for (const [rows, width] of [
  [170, 100],
  [99, 77],
] as const) {
  on(`in pieces of a binding, and from anywhere on, the same bits: [${rows}, ${width}]`, async () => {
    for (const [name, run] of Object.entries(EXACT)) {
      const want = await result(device, run, rows, width);
      assert.equal(await result(pieces, run, rows, width), want, `${name}, in pieces`);
      assert.equal(await result(device, run, rows, width, 1), want, `${name}, a view`);
      assert.equal(await result(pieces, run, rows, width, 3), want, `${name}, a view in pieces`);
      // each row has the bits that it has as the only one
      if (name === 'adamStep') continue;
      const { whole, row, column } = make(device, rows, width, 0);
      const at = (t: Tensor) => device.rows(t, 5, 1);
      run(device, whole.map(at), row, at(column));
      for (const [i, t] of whole.entries()) {
        assert.equal(await floats(device, at(t)), want[i]!.slice(5 * width, 6 * width), `${name}, alone`);
      }
      disposeAll(...whole, ...row, column);
    }
  });

  on(`sums in pieces of a binding: [${rows}, ${width}]`, async () => {
    for (const [name, run] of Object.entries(SUMS)) {
      const want = await result(device, run, rows, width);
      assert.equal(await result(device, run, rows, width), want, `${name}, again`);
      for (const got of [await result(pieces, run, rows, width), await result(device, run, rows, width, 1)]) {
        for (const [i, values] of got.entries()) {
          assert.ok(worst.within(`${name}, in pieces`, worstError(values, want[i]!), 1e-6), name);
        }
      }
    }
  });
}

on('more rows than a dimension has workgroups', async () => {
  const [rows, width] = [70_001, 2];
  const [a, c, d] = [randomF32(rows * width, 1), randomF32(rows, 2), randomF32(rows * width, 3)];
  const [x, y, coefficients, sums] = [
    put(device, [rows, width], a),
    put(device, [rows, width], d),
    put(device, [rows, 1], c),
    put(device, [rows, 1], c),
  ];
  const weight = put(device, [2], [0.5, 2]);
  const out = device.tensor('f32', [rows, width]);
  device.rmsNorm(x, weight, out, 1e-5);
  const normed = a.map((v, i) => (v / Math.sqrt((a[i & ~1]! ** 2 + a[i | 1]! ** 2) / 2 + 1e-5)) * (i % 2 ? 2 : 0.5));
  assert.ok(worst.within('rmsNorm of many rows', worstError(await floats(device, out), normed), 1e-6));
  device.scaleRowsBackward(x, coefficients, 0, y, null, sums);
  const products = c.map((v, i) => v + a[2 * i]! * d[2 * i]! + a[2 * i + 1]! * d[2 * i + 1]!);
  assert.ok(worst.within('sums of many rows', worstError(await floats(device, sums), products), 1e-6));
  const dWeight = device.tensor('f32', [2]);
  device.fill(out, 0);
  device.rmsNormBackward(x, weight, y, 1e-5, out, dWeight);
  const slopes = [0, 0];
  for (const [i, v] of d.entries()) slopes[i % 2]! += (v * normed[i]!) / (i % 2 ? 2 : 0.5);
  assert.ok(worst.within('gradient of a weight of many rows', worstError(await floats(device, dWeight), slopes), 1e-6));
  device.softmax(x);
  const soft = a.map((v, i) => Math.exp(v) / (Math.exp(a[i & ~1]!) + Math.exp(a[i | 1]!)));
  assert.ok(worst.within('softmax of many rows', worstError(await floats(device, x), soft), 1e-6));
  disposeAll(x, y, coefficients, sums, weight, out, dWeight);
});

on('rows of no element, and no rows', async () => {
  for (const [rows, width] of [
    [0, 4],
    [3, 0],
    [0, 0],
  ] as const) {
    for (const [name, run] of Object.entries({ ...EXACT, ...SUMS })) {
      if (width === 0 && name.includes('Norm')) continue; // groups of nothing are refused
      const row = [width, width, 1].map((n) => put(device, [Math.max(1, n)], randomF32(Math.max(1, n), 6)));
      const whole = [1, 2, 3, 4, 5].map(() => device.tensor('f32', [rows, width]));
      const [column, none] = [device.tensor('f32', [rows, 3]), device.tensor('f32', [width])];
      run(device, whole, width === 0 ? [none, none, row[2]!] : row, column);
      disposeAll(...whole, ...row, column, none);
    }
  }
  await device.flush();
});

on('softmax: numbers far apart, and logits that are −∞', async () => {
  const x = put(device, [4, 3], [1e30, 0, -1e30, -Infinity, 0, 0, -3e38, 3e38, -Infinity, 88, -88, 100]);
  device.softmax(x);
  const e = Math.exp(-12);
  const want = [1, 0, 0, 0, 0.5, 0.5, 0, 1, 0, e / (1 + e), 0, 1 / (1 + e)];
  assert.ok(worst.within('softmax far apart', worstError(await floats(device, x), want), 1e-6));
  x.dispose();
});

on('NaN and infinities stay to be seen', async () => {
  const n = 8;
  for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) {
    const spoilt = (seed: number) => put(device, [2, n], randomF32(2 * n, seed).fill(bad, 3, 4));
    const fine = (seed: number) => put(device, [2, n], randomF32(2 * n, seed));
    const weight = put(device, [n], randomF32(n, 9));
    /** Where it is no finite number. */
    const seen = async (t: Tensor) => [...(await floats(device, t))].flatMap((v, i) => (Number.isFinite(v) ? [] : [i]));
    const [x, y, z, one] = [spoilt(1), fine(2), fine(3), put(device, [1], [0])];
    for (const kind of ['silu', 'gelu-tanh'] as const) {
      device.gatedActivation(kind, x, y, z);
      assert.equal(await seen(z), [3], `${kind} of its gate`);
      device.gatedActivation(kind, y, x, z);
      assert.equal(await seen(z), [3], `${kind} of up`);
      const [dGate, dUp] = [fine(4), fine(5)];
      device.gatedActivationBackward(kind, x, y, y, dGate, dUp);
      assert.ok((await seen(dUp)).includes(3), `${kind}, dUp`);
      if (Number.isNaN(bad)) assert.equal(await seen(dGate), [3], `${kind}, dGate`);
      device.gatedActivationBackward(kind, y, y, x, dGate, dUp);
      assert.equal([await seen(dGate), await seen(dUp)], [[3], [3]], `${kind} of dY`);
      disposeAll(dGate, dUp);
    }
    device.sumSquares(x, one);
    assert.equal(await seen(one), [0], 'sumSquares');
    const columns = put(device, [n], new Float32Array(n));
    device.columnSum(x, columns);
    assert.equal(await seen(columns), [3], 'columnSum');
    const soft = spoilt(6);
    device.softmax(soft);
    assert.ok((await seen(soft)).includes(3) && (await seen(soft)).every((i) => i < n), 'softmax');
    device.rmsNorm(x, weight, z, 1e-5);
    assert.ok((await seen(z)).includes(3) && (await seen(z)).every((i) => i < n), 'rmsNorm');
    const [m, v, theta] = [fine(6), put(device, [2, n], new Float32Array(2 * n)), fine(7)];
    const rates = { step: 1, rate: 0.1, beta1: 0.9, beta2: 0.9, epsilon: 1e-6, weightDecay: 0, gradientScale: 1 };
    device.adamStep({ parameters: theta, gradient: x, m, v, ...rates });
    assert.equal(await seen(m), [3], 'adamStep');
    for (const from of [x]) {
      const narrow = device.tensor('f16', [2, n]);
      device.cast(from, narrow);
      device.cast(narrow, z);
      assert.equal(await seen(z), [3], 'cast');
      narrow.dispose();
    }
    disposeAll(x, y, z, one, weight, columns, soft, m, v, theta);
  }
});

testNothingLeft(
  [
    { name: 'webgpu', device },
    { name: 'pieces', device: pieces },
  ],
  worst,
);

test.run();
