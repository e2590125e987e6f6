// device: webgpu — asks what only a GPU has
// long — compiles more than a hundred kernels
/** Products on a GPU: every kernel that a shape may choose, tails, views, pieces, shares, and which bits do not depend on what. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Tensor } from '../../src/device/device.ts';
import { requestAdapter } from '../../src/device/webgpu/adapter.ts';
import { WebGpuTrainDevice } from '../../src/device/webgpu/webgpu-train-device.ts';
import { put, putInts, testNothingLeft, testsOn, Worst } from './devices.ts';
import { product, randomF32, worstError } from './reference.ts';
import { type Stored, stored } from './sources.ts';

const worst = new Worst();
const whole = await WebGpuTrainDevice.create({ debug: true });
/** Binds 16 KiB at a time. */
const inPieces = await WebGpuTrainDevice.create({ debug: true, bindingLimit: 16_384 });
/** As the smallest of GPUs: no features, and the limits that all have. */
const bare = await (await requestAdapter())!.requestDevice();
const least = await WebGpuTrainDevice.create({ debug: true, gpu: bare });

const all = [
  { name: 'whole', device: whole },
  { name: 'in pieces', device: inPieces },
  { name: 'no features', device: least },
];
/** A way of reading each; the others differ from one of these in a constant. */
const TYPES = ['f32', 'f16', 'q8_0', 'q4_1'] as const satisfies readonly Stored[];
/** Of f32 sums of up to 3,000 terms taken in order, relative to the largest; four times that is allowed (devices.ts). */
const BOUND = 1e-6;

function dispose(...tensors: Tensor[]): void {
  for (const t of tensors) t.dispose();
}

for (const { name, device } of all) {
  const on = testsOn(name, device);
  const floats = async (t: Tensor) => (await device.read(t)) as Float32Array;
  const zeros = (shape: readonly number[]) => put(device, shape, new Float32Array(shape.reduce((a, b) => a * b, 1)));

  on('few rows and many, of each type, several weights at once', async () => {
    const k = 160;
    for (const type of TYPES) {
      const widths = [45, 8, 130];
      const weights: Tensor[] = [];
      for (const [i, n] of widths.entries()) weights.push(await device.loadMatrix(stored(type, n, k, i + 1)));
      const numbers: Float32Array[] = [];
      for (const weight of weights) {
        const n = weight.shape[0]!;
        const [ids, rows] = [putInts(device, [n], [...Array(n).keys()]), device.tensor('f32', [n, k])];
        device.embed(ids, weight, rows);
        numbers.push(await floats(rows));
        dispose(ids, rows);
      }
      for (const rows of [0, 1, 3, 9, 37]) {
        const values = randomF32(rows * k, rows + 1);
        const x = put(device, [rows, k], values);
        const outs = widths.map((n) => zeros([rows, n]));
        device.linear(x, weights, outs, 'exact');
        for (const [i, n] of widths.entries()) {
          const want = product(rows, n, k, values, numbers[i]!, { transposeB: true });
          const error = worstError(await floats(outs[i]!), want);
          assert.ok(worst.within(`linear ${type}`, error, BOUND), `${type}, ${rows} rows, weight ${i}: ${error}`);
        }
        dispose(x, ...outs);
      }
      dispose(...weights);
    }
  });

  on('matmul of tails and views whose rows begin anywhere', async () => {
    for (const [m, n, k] of [
      [1, 1, 0],
      [3, 5, 1],
      [17, 33, 5],
      [70, 9, 68],
      [9, 70, 31],
      [130, 66, 36],
    ] as const) {
      if (device === inPieces && m * k < 4096) continue;
      for (const [transposeA, transposeB] of [
        [false, false],
        [false, true],
        [true, false],
        [true, true],
      ] as const) {
        // each tensor stands behind a row of another
        const behind = (rows: number, width: number, data: Float32Array): [Tensor, Tensor] => {
          const owner = put(device, [rows + 1, width], [...randomF32(width, 9), ...data]);
          return [owner, device.rows(owner, 1, rows)];
        };
        const [a, b, c] = [randomF32(m * k, 1), randomF32(k * n, 2), randomF32(m * n, 3)];
        const [aOwner, aView] = transposeA ? behind(k, m, a) : behind(m, k, a);
        const [bOwner, bView] = transposeB ? behind(n, k, b) : behind(k, n, b);
        const [cOwner, cView] = behind(m, n, c);
        device.matmul(aView, bView, cView, { transposeA, transposeB, alpha: -1.5, accumulate: true });
        const want = product(m, n, k, a, b, { transposeA, transposeB, alpha: -1.5 }).map((v, i) => v + c[i]!);
        const got = await floats(cOwner);
        const error = worstError(got.subarray(n), want);
        assert.ok(
          worst.within('matmul of views', error, BOUND),
          `${m} ${n} ${k} ${transposeA} ${transposeB}: ${error}`,
        );
        assert.equal(got.subarray(0, n), randomF32(n, 9), 'the row before stays');
        dispose(aOwner, bOwner, cOwner);
      }
    }
  });

  on('long sums are shared out, and are the same in every run', async () => {
    for (const [t, m, n] of [
      [3000, 16, 24],
      [1030, 7, 70],
    ] as const) {
      const [y, x, before] = [randomF32(t * m, 1), randomF32(t * n, 2), randomF32(m * n, 3)];
      const [dY, input] = [put(device, [t, m], y), put(device, [t, n], x)];
      const twice: Float32Array[] = [];
      for (let run = 0; run < 2; run++) {
        const dW = put(device, [m, n], before);
        device.matmul(dY, input, dW, { transposeA: true, accumulate: true, alpha: 0.3 });
        twice.push(await floats(dW));
        dW.dispose();
      }
      const want = product(m, n, t, y, x, { transposeA: true, alpha: Math.fround(0.3) }).map((v, i) => v + before[i]!);
      const error = worstError(twice[0]!, want);
      assert.ok(worst.within('long sums', error, BOUND), `${t} ${m} ${n}: ${error}`);
      assert.equal(twice[0], twice[1]);
      dispose(dY, input);
    }
  });

  on('the ways back, by expert and not, and rows of a table', async () => {
    const [n, k, counts] = [44, 96, [3, 0, 70, 1]];
    const bounds = [1];
    for (const count of counts) bounds.push(bounds.at(-1)! + count);
    const rows = bounds.at(-1)! + 2;
    const stack = await device.loadMatrices(counts.map((_, e) => stored('f32', n, k, e + 1)));
    const [y, x] = [randomF32(rows * n, 5), randomF32(rows * k, 6)];
    const offsets = putInts(device, [bounds.length], bounds);
    const [dY, input, dX, out] = [
      put(device, [rows, n], y),
      put(device, [rows, k], x),
      zeros([rows, k]),
      zeros([rows, n]),
    ];
    const dW = zeros([counts.length, n, k]);
    device.linearGrouped(input, offsets, [stack], [out], 'exact');
    device.linearGroupedBackward(dY, offsets, stack, dX);
    device.linearGroupedWeights(dY, offsets, input, dW);
    const [wantX, wantOut] = [new Float64Array(rows * k), new Float64Array(rows * n)];
    const wantW = new Float64Array(counts.length * n * k);
    for (const [e, count] of counts.entries()) {
      const w = randomF32(n * k, e + 1);
      const [ye, xe] = [y.subarray(bounds[e]! * n), x.subarray(bounds[e]! * k)];
      wantX.set(product(count, k, n, ye, w), bounds[e]! * k);
      wantOut.set(product(count, n, k, xe, w, { transposeB: true }), bounds[e]! * n);
      wantW.set(product(n, k, count, ye, xe, { transposeA: true }), e * n * k);
    }
    for (const [what, t, want] of [
      ['linearGrouped', out, wantOut],
      ['linearGroupedBackward', dX, wantX],
      ['linearGroupedWeights', dW, wantW],
    ] as const) {
      const error = worstError(await floats(t), want);
      assert.ok(worst.within(what, error, BOUND), `${what}: ${error}`);
    }
    // weights of more bytes than a piece holds, one matrix and a table of ids
    const big = await device.loadMatrix(stored('q4_1', 640, 96, 3));
    const [ids, some] = [putInts(device, [5], [639, 0, 7, 320, 639]), zeros([5, 96])];
    device.embed(ids, big, some);
    const picked = await floats(some);
    const [every, table] = [putInts(device, [640], [...Array(640).keys()]), zeros([640, 96])];
    device.embed(every, big, table);
    const numbers = await floats(table);
    for (const [i, id] of [639, 0, 7, 320, 639].entries()) {
      assert.equal(picked.slice(i * 96, (i + 1) * 96), numbers.slice(id * 96, (id + 1) * 96));
    }
    const [dBig, dBack] = [put(device, [20, 640], randomF32(12_800, 7)), zeros([20, 96])];
    device.linearBackward(dBig, big, dBack);
    const error = worstError(await floats(dBack), product(20, 96, 640, randomF32(12_800, 7), numbers));
    assert.ok(worst.within('linearBackward', error, BOUND), `${error}`);
    const dTable = put(device, [640, 96], numbers);
    device.embedBackward(ids, some, dTable);
    const want = numbers.slice();
    for (const [i, id] of [639, 0, 7, 320, 639].entries()) {
      for (let c = 0; c < 96; c++) want[id * 96 + c]! += picked[i * 96 + c]!;
    }
    assert.equal(await floats(dTable), want);
    dispose(stack, offsets, dY, input, dX, out, dW, big, ids, some, every, table, dBig, dBack, dTable);
  });
}

const on = testsOn('whole', whole);
const floats = async (t: Tensor) => (await whole.read(t)) as Float32Array;

on('a row has the same bits by any tile, and by any number of few rows', async () => {
  const [n, k] = [1400, 52];
  const weight = await whole.loadMatrix(stored('f16', n, k, 1));
  const x = put(whole, [1400, k], randomF32(1400 * k, 2));
  const out = whole.tensor('f32', [1400, n]); // by the largest tile
  whole.linear(x, [weight], [out], 'exact');
  const want = await floats(out);
  for (const rows of [17, 40, 200, 700]) {
    const some = whole.tensor('f32', [rows, n]);
    whole.linear(whole.rows(x, 0, rows), [weight], [some], 'exact');
    assert.equal(await floats(some), want.slice(0, rows * n), `${rows} rows`);
    some.dispose();
  }
  const first = whole.tensor('f32', [1, n]);
  whole.linear(whole.rows(x, 0, 1), [weight], [first], 'exact');
  for (const rows of [2, 3, 5, 16]) {
    const some = whole.tensor('f32', [rows, n]);
    whole.linear(whole.rows(x, 0, rows), [weight], [some], 'exact');
    assert.equal((await floats(some)).slice(0, n), await floats(first), `${rows} rows`);
    some.dispose();
  }
  dispose(weight, x, out, first);
});

on('results and rows in one buffer', async () => {
  const d = 40;
  const weight = await whole.loadMatrix(stored('f32', d, d, 1));
  for (const rows of [3, 20]) {
    const tensor = put(whole, [3 * rows, d], randomF32(3 * rows * d, 2));
    const [x, y, z] = [0, 1, 2].map((i) => whole.rows(tensor, i * rows, rows)) as [Tensor, Tensor, Tensor];
    whole.linear(x, [weight, weight], [y, z], 'exact');
    const apart = whole.tensor('f32', [rows, d]);
    whole.linear(x, [weight], [apart], 'exact');
    const got = await floats(tensor);
    const want = await floats(apart);
    assert.equal(got.slice(0, rows * d), randomF32(3 * rows * d, 2).slice(0, rows * d));
    for (const i of [1, 2]) assert.equal(got.slice(i * rows * d, (i + 1) * rows * d), want);
    dispose(tensor, apart);
  }
  weight.dispose();
});

on('more workgroups than one dimension has', async () => {
  const n = 65_536 * 64 + 3;
  const values = Float32Array.from({ length: n }, (_, i) => i % 1009);
  const [a, b, c] = [put(whole, [1, 1], [2]), put(whole, [n, 1], values), whole.tensor('f32', [1, n])];
  whole.matmul(a, b, c, { transposeB: true });
  assert.equal(
    await floats(c),
    values.map((v) => 2 * v),
  );
  dispose(a, b, c);
});

testNothingLeft(all, worst);
test('the GPU that was given', () => bare.destroy());

test.run();
