// device: webgpu — digits are what a GPU lacks f64 for
/** Numbers in digits, and Gram matrices of them: every digit against f64, sums against ones that nothing was rounded in. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openDigitDevice } from '../../src/device/open-device.ts';
import { requestAdapter } from '../../src/device/webgpu/adapter.ts';
import { WebGpuDigitDevice } from '../../src/device/webgpu/webgpu-digit-device.ts';
import { gramByDigits } from '../../src/svd/gram-by-digits.ts';
import { LinearAlgebra } from '../../src/svd/linear-algebra.ts';
import { rejects } from '../errors.ts';
import { normal } from '../svd/algebras.ts';
import { put, putInts, testNothingLeft, testsOn, Worst } from './devices.ts';

const worst = new Worst();
/** Bounds here are a GPU's own, to be taken as they are. */
const within = (name: string, error: number, bound: number) => worst.within(name, error, bound / 4);
const algebra = await LinearAlgebra.create({ relaxed: false });
const bare = await (await requestAdapter())!.requestDevice();
const all = [
  { name: 'whole', device: await WebGpuDigitDevice.create({ debug: true }) },
  /** Binds 16 KiB at a time. */
  { name: 'in pieces', device: await WebGpuDigitDevice.create({ debug: true, bindingLimit: 16_384 }) },
  { name: 'no features', device: await WebGpuDigitDevice.create({ debug: true, gpu: bare }) },
];

/** Numbers of all magnitudes that f32 has, subnormal ones and zeros among them, in rows of very different size. */
function hostile(rows: number, columns: number, seed: number): Float32Array {
  const x = normal(rows * columns, seed);
  return Float32Array.from(x, (v, i) => {
    const row = Math.floor(i / columns);
    if (i % 7 === 3) return 0;
    return v * 2 ** ([0, -140, 100, -60][row % 4]! - (i % 5 === 0 ? 23 : 0));
  });
}

/** Singular values from 1 to 1e-6, which f32 entries then round. */
async function graded(rows: number, columns: number): Promise<Float32Array> {
  const r = Math.min(rows, columns);
  const { u, vt } = await algebra.svd(normal(rows * columns, 9), { rows, columns });
  const a = new Float32Array(rows * columns);
  for (let i = 0; i < rows; i++) {
    for (let c = 0; c < columns; c++) {
      let sum = 0;
      for (let j = 0; j < r; j++) sum += u[i * r + j]! * 10 ** ((-6 * j) / (r - 1)) * vt[j * columns + c]!;
      a[i * columns + c] = sum;
    }
  }
  return a;
}

/** All numbers of one sign, with as many bits as f32 has, and one in a row that towers over the rest. */
function towering(rows: number, columns: number): Float32Array {
  return Float32Array.from({ length: rows * columns }, (_, i) =>
    i % columns === 0 ? 1 : (2 - 2 ** -23) * 2 ** -(9 + (i % 3)),
  );
}

/** Inner products of rows (columns) i and j and their lengths. Products of two f32 are exact in f64, and what a sum rounds off is summed, too (Knuth's two-sum). */
function exactGram(a: Float32Array, rows: number, columns: number, side: 'left' | 'right') {
  const [n, depth, step, own] = side === 'left' ? [rows, columns, 1, columns] : [columns, rows, columns, 1];
  const gram = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = i; j < n; j++) {
      let [sum, rest] = [0, 0];
      for (let k = 0; k < depth; k++) {
        const term = a[i * own + k * step]! * a[j * own + k * step]!;
        const next = sum + term;
        const got = next - sum;
        rest += sum - (next - got) + (term - got);
        sum = next;
      }
      gram[i * n + j] = gram[j * n + i] = sum + rest;
    }
  }
  return { gram, lengths: Float64Array.from({ length: n }, (_, i) => Math.sqrt(gram[i * (n + 1)]!)) };
}

/** Largest error of an entry, of the lengths of both vectors. */
function errorOf(gram: ArrayLike<number>, of: ReturnType<typeof exactGram>): number {
  const n = of.lengths.length;
  let most = 0;
  for (let i = 0; i < n * n; i++) {
    const size = of.lengths[Math.floor(i / n)]! * of.lengths[i % n]!;
    const error = Math.abs(gram[i]! - of.gram[i]!);
    most = Math.max(most, size === 0 ? error : error / size);
  }
  return most;
}

const cases: [name: string, a: Float32Array, rows: number, columns: number][] = [
  ['normal', Float32Array.from(normal(10 * 1100, 3)), 10, 1100],
  ['normal, tall', Float32Array.from(normal(1100 * 9, 4)), 1100, 9],
  ['hostile', hostile(19, 300, 5), 19, 300],
  ['hostile, tall', hostile(300, 19, 6), 300, 19],
  ['graded', await graded(32, 50), 32, 50],
  ['towering', towering(12, 2050), 12, 2050],
  ['subnormal', Float32Array.from(normal(10 * 33, 7), (v) => v * 2 ** -142), 10, 33],
  ['zeros', new Float32Array(6 * 5), 6, 5],
  ['one', Float32Array.of(3), 1, 1],
];

for (const { name, device } of all) {
  const on = testsOn(name, device);

  on('digits are whole numbers up to 128 that make up the number', async () => {
    const [rows, columns, first, count] = [9, 37, 5, 30];
    const a = hostile(rows, columns, 11);
    for (const along of ['rows', 'columns'] as const) {
      const n = along === 'rows' ? rows : columns;
      const [from, some] = along === 'rows' ? [first, count] : [2, 6];
      const at = (i: number, k: number) => (along === 'rows' ? a[i * columns + k]! : a[k * columns + i]!);
      const exponents = Array.from({ length: n }, (_, i) => {
        let most = 2 ** -149;
        for (let k = 0; k < (along === 'rows' ? columns : rows); k++) most = Math.max(most, Math.abs(at(i, k)));
        return Math.floor(Math.log2(most)) + 1;
      });
      // the numbers behind others of a tensor, a view
      const x = put(device, [rows + 1, columns], [...new Float32Array(columns).fill(9), ...a]);
      const e = putInts(device, [n], exponents);
      const left = Float64Array.from({ length: n * some }, (_, i) => {
        const row = Math.floor(i / some);
        return at(row, from + (i % some)) / 2 ** exponents[row]!;
      });
      const out = device.tensor('f32', [n, some]);
      for (let place = 0; place < 12; place++) {
        device.takeDigit({ x: device.rows(x, 1, rows), along, exponents: e, first: from, place, out });
        const q = (await device.read(out)) as Float32Array;
        for (const [i, digit] of q.entries()) {
          assert.ok(Number.isInteger(digit) && Math.abs(digit) <= 128, `${along} ${place} ${i}: ${digit}`);
          left[i]! -= digit * 2 ** (-7 - 8 * place);
          assert.ok(Math.abs(left[i]!) <= 2 ** (-8 * (place + 1)), `${along} ${place} ${i}: ${left[i]} is left`);
        }
      }
      for (const t of [x, e, out]) t.dispose();
    }
  });

  on('whole numbers are added up exactly, and replace what was there', async () => {
    const values = Float32Array.from({ length: 4099 }, (_, i) => (i % 2 === 0 ? 1 : -1) * (2 ** 24 - i));
    const [x, sums] = [put(device, [4099], values), device.tensor('i32', [4099])];
    device.addWhole(x, sums, { factor: 3, accumulate: false });
    device.addWhole(x, sums, { factor: 124, accumulate: true });
    assert.equal(
      (await device.read(sums)) as Int32Array,
      Int32Array.from(values, (v) => 127 * v),
    );
    device.addWhole(x, sums, { factor: -2, accumulate: false });
    assert.equal(
      (await device.read(sums)) as Int32Array,
      Int32Array.from(values, (v) => -2 * v),
    );
    for (const t of [x, sums]) t.dispose();
  });

  on('Gram matrices have the digits of f64, whatever the numbers', async () => {
    for (const [title, a, rows, columns] of name === 'whole' ? cases : cases.slice(2, 4)) {
      const x = put(device, [rows, columns], a);
      for (const side of ['left', 'right'] as const) {
        // of the long side there is no need, and it is large
        if ((side === 'left' ? rows : columns) > 400) continue;
        const exact = exactGram(a, rows, columns, side);
        const n = exact.lengths.length;
        const depth = side === 'left' ? columns : rows;
        const gram = await gramByDigits(device, a, x, { rows, columns, side });
        const error = errorOf(gram, exact);
        const label = `${title}, ${side}: ${error}`;
        assert.ok(
          gram.every((v, i) => v === gram[(i % n) * n + Math.floor(i / n)]),
          label,
        );
        // the bound of its comment, and far less in fact
        assert.ok(error <= 2 ** -52 + 1.2 * depth * 2 ** -56, label);
        assert.ok(within('Gram by digits, of the lengths', error, 2e-15), label);
        const plain = await algebra.gram(a, { rows, columns, side });
        assert.ok(within('Gram in f64 sums, of the lengths', errorOf(plain, exact), 1e-14), title);
        // what f32 sums come to must be seen
        if (title.startsWith('normal') || title === 'graded') {
          const product = device.tensor('f32', [n, n]);
          const sideways = side === 'left' ? { transposeB: true } : { transposeA: true };
          device.matmul(x, x, product, sideways);
          const single = errorOf((await device.read(product)) as Float32Array, exact);
          product.dispose();
          assert.ok(single > 1e-8, `${label}, in f32 ${single}`);
          within('Gram in f32 sums, of the lengths', single, 1e-5);
        }
      }
      x.dispose();
    }
  });
}

const { device } = all[0]!;
const on = testsOn('whole', device);

on('sums longer than 32 bits hold are collected on the way', async () => {
  // all digits as large as they can be: 128 products of 2^24 would be 2^31
  const [rows, columns] = [2, 17_000];
  const a = new Float32Array(rows * columns).fill(1);
  const x = put(device, [rows, columns], a);
  assert.equal(
    await gramByDigits(device, a, x, { rows, columns, side: 'left' }),
    new Float64Array(rows * rows).fill(columns),
  );
  const b = Float32Array.from({ length: rows * columns }, (_, i) => 1 - (i % columns) * 2 ** -24);
  device.write(x, b);
  const error = errorOf(
    await gramByDigits(device, b, x, { rows, columns, side: 'left' }),
    exactGram(b, rows, columns, 'left'),
  );
  assert.ok(within('Gram of 17,000 terms, of the lengths', error, 5e-16), `${error}`);
  x.dispose();
});

on('what is wrong is refused', async () => {
  const a = Float32Array.of(1, 2, Number.NaN, 4, 5, 6);
  const x = put(device, [2, 3], a);
  const side = 'left';
  await rejects('E_TENSOR_VALUE', () => gramByDigits(device, a, x, { rows: 2, columns: 3, side }));
  a[2] = Number.NEGATIVE_INFINITY;
  await rejects('E_TENSOR_VALUE', () => gramByDigits(device, a, x, { rows: 2, columns: 3, side: 'right' }));
  await rejects('E_SHAPE', () => gramByDigits(device, a, x, { rows: 2, columns: 2, side }));
  const gone = new AbortController();
  gone.abort();
  await rejects('E_ABORTED', () => gramByDigits(device, a, x, { rows: 2, columns: 3, side, signal: gone.signal }));
  const [exponents, out] = [putInts(device, [2], [0, 0]), device.tensor('f32', [2, 2])];
  const good = { x, along: 'rows', exponents, first: 0, place: 0, out } as const;
  for (const wrong of [
    { first: 2 },
    { first: -1 },
    { place: 12 },
    { place: 0.5 },
    { along: 'columns' },
    { out: x },
  ] as const) {
    await rejects('E_SHAPE', async () => device.takeDigit({ ...good, ...wrong }));
  }
  await rejects('E_SHAPE', async () => device.addWhole(x, exponents, { factor: 1, accumulate: false }));
  await rejects('E_SHAPE', async () => device.addWhole(out, exponents, { factor: 0.5, accumulate: false }));
  for (const t of [x, exponents, out]) t.dispose();
});

test('it is opened where a GPU is asked for', async () => {
  const opened = await openDigitDevice();
  assert.is(opened.kind, 'webgpu');
  opened.close();
});

testNothingLeft(all, worst);
test('the rest is closed', () => {
  algebra.close();
  bare.destroy();
});
test.run();
