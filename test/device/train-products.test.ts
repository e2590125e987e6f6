/** The way back through products: against f64, against differences of the way forward, and with the same bits for any lanes. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Device, Tensor } from '../../src/device/device.ts';
import { put, putInts, testNothingLeft, testsOn, trainDevices, Worst } from './devices.ts';
import { product, randomF32, worstError } from './reference.ts';
import { type Stored, stored } from './sources.ts';

const all = await trainDevices();
const worst = new Worst();
/** Of f32 sums of up to 700 terms, relative to the largest. */
const BOUND = 2e-6;
const TYPES = ['f32', 'bf16', 'f16', 'q8_0', 'q8_1', 'q4_0', 'q4_1'] as const satisfies readonly Stored[];

const floats = async (device: Device, t: Tensor) => (await device.read(t)) as Float32Array;
const dispose = (...tensors: Tensor[]) => {
  for (const t of tensors) t.dispose();
};

/** What a matrix in panels stands for, [n, k]. */
async function numbersOf(device: Device, weight: Tensor): Promise<Float32Array> {
  const [n, k] = weight.shape as [number, number];
  const ids = putInts(device, [n], [...Array(n).keys()]);
  const out = device.tensor('f32', [n, k]);
  device.embed(ids, weight, out);
  const numbers = await floats(device, out);
  dispose(ids, out);
  return numbers;
}

/** Results by case: every micro-kernel and number of lanes of a build gives the same. */
const results = new Map<string, Float32Array>();
function sameBits(name: string, what: string, got: Float32Array): void {
  const key = `${name.split(',')[0]}: ${what}`;
  assert.equal(got, results.get(key) ?? got, `${key}, ${name}`);
  results.set(key, got);
}

for (const { name, device } of all) {
  const on = testsOn(name, device);

  for (const type of TYPES) {
    on(`linearBackward: dY · W, ${type}`, async () => {
      for (const [t, n, k] of [
        [1, 1, 32],
        [5, 19, 64],
        [67, 600, 96], // more outputs than a block of sums has
        [61, 37, 2080], // more columns than are unpacked together
        [300, 72, 416], // lanes share rows or columns
        ...(type.startsWith('q') ? [] : ([[7, 24, 45]] as const)), // a width that is no multiple of 8
      ] as const) {
        const what = `${type} [${t}, ${n}] · [${n}, ${k}]`;
        const weight = await device.loadMatrix(stored(type, n, k, 3));
        const [y, before] = [randomF32(t * n, 1), randomF32(t * k, 2)];
        const [dY, dX] = [put(device, [t, n], y), put(device, [t, k], before)];
        device.linearBackward(dY, weight, dX);
        const once = await floats(device, dX);
        const want = product(t, k, n, y, await numbersOf(device, weight));
        const error = worstError(once, want);
        assert.ok(worst.within('linearBackward', error, BOUND), `${what}: ${error}`);
        sameBits(name, what, once);
        device.write(dX, before);
        device.linearBackward(dY, weight, dX, true);
        const added = await floats(device, dX);
        for (let i = 0; i < want.length; i++) want[i]! += before[i]!;
        const sum = worstError(added, want);
        assert.ok(worst.within('linearBackward, added', sum, BOUND), `${what}: ${sum}`);
        sameBits(name, `${what}, added`, added);
        assert.equal(await floats(device, dY), y, 'dY stays');
        dispose(weight, dY, dX);
      }
    });
  }

  on('linearBackward and the product of rows are the gradients of linear', async () => {
    // linear in x and in W: a central difference has no error but rounding
    const [t, n, k, h] = [23, 40, 64, 0.5];
    for (const type of ['f32', 'q4_0'] as const) {
      const weight = await device.loadMatrix(stored(type, n, k, 5));
      const w = await numbersOf(device, weight);
      const [x, y, along] = [randomF32(t * k, 1), randomF32(t * n, 2), randomF32(t * k, 3)];
      const [dY, dX, dW] = [put(device, [t, n], y), device.tensor('f32', [t, k]), device.tensor('f32', [n, k])];
      const loss = async (rows: Float32Array, matrix: Tensor) => {
        const [input, out] = [put(device, [t, k], rows), device.tensor('f32', [t, n])];
        device.linear(input, [matrix], [out], 'exact');
        const values = await floats(device, out);
        dispose(input, out);
        return values.reduce((sum, v, i) => sum + v * y[i]!, 0);
      };
      device.linearBackward(dY, weight, dX);
      const stepped = (sign: number) => x.map((v, i) => v + sign * h * along[i]!);
      const difference = ((await loss(stepped(1), weight)) - (await loss(stepped(-1), weight))) / (2 * h);
      const gradient = (await floats(device, dX)).reduce((sum, v, i) => sum + v * along[i]!, 0);
      const error = Math.abs(gradient / difference - 1);
      assert.ok(worst.within('linearBackward, of differences', error, 2e-5), `${type}: ${error}`);

      const input = put(device, [t, k], x);
      device.matmul(dY, input, dW, { transposeA: true, accumulate: true });
      const by = randomF32(n * k, 4);
      const moved = async (sign: number) => {
        const master = put(
          device,
          [n, k],
          w.map((v, i) => v + sign * h * by[i]!),
        );
        const panels = await device.loadMatrix(stored('f32', n, k, 1));
        device.pack(master, panels);
        const value = await loss(x, panels);
        dispose(master, panels);
        return value;
      };
      const change = ((await moved(1)) - (await moved(-1))) / (2 * h);
      const slope = (await floats(device, dW)).reduce((sum, v, i) => sum + v * by[i]!, 0);
      const off = Math.abs(slope / change - 1);
      assert.ok(worst.within('dW, of differences', off, 2e-5), `${type}: ${off}`);
      dispose(weight, dY, dX, dW, input);
    }
  });

  on('matmul: a transposed A of any height and width, added to', async () => {
    for (const [t, n, k] of [
      [1, 1, 1],
      [3, 4, 8],
      [40, 67, 19],
      [530, 131, 72], // more rows than a block of sums has
      [700, 60, 300],
    ] as const) {
      const [y, x, before] = [randomF32(t * n, 1), randomF32(t * k, 2), randomF32(n * k, 3)];
      const [dY, input, dW] = [put(device, [t, n], y), put(device, [t, k], x), put(device, [n, k], before)];
      device.matmul(dY, input, dW, { transposeA: true, accumulate: true, alpha: 0.7 });
      const want = product(n, k, t, y, x, { transposeA: true, alpha: Math.fround(0.7) });
      for (let i = 0; i < want.length; i++) want[i]! += before[i]!;
      const got = await floats(device, dW);
      const error = worstError(got, want);
      assert.ok(worst.within('dW', error, BOUND), `[${t}, ${n}]ᵀ · [${t}, ${k}]: ${error}`);
      sameBits(name, `dW ${t} ${n} ${k}`, got);
      dispose(dY, input, dW);
    }
  });

  for (const type of TYPES) {
    on(`linearGroupedBackward: by expert what linearBackward gives, ${type}`, async () => {
      const k = 96;
      for (const { counts, n } of [
        { counts: [1, 0, 1], n: 40 },
        { counts: [7, 0, 61, 300, 1, 13], n: 72 },
        { counts: Array.from({ length: 41 }, (_, e) => 9 + (e % 3)), n: 19 }, // more than a command holds
      ]) {
        const [bounds, rows] = boundsOf(counts);
        const y = randomF32(rows * n, 4);
        const before = randomF32(rows * k, 5);
        const sources = [...counts.keys()].map((e) => stored(type, n, k, e + 1));
        const stack = await device.loadMatrices(sources);
        const [dY, dX, want] = [
          put(device, [rows, n], y),
          put(device, [rows, k], before),
          put(device, [rows, k], before),
        ];
        const offsets = putInts(device, [bounds.length], bounds);
        for (const accumulate of [false, true]) {
          device.linearGroupedBackward(dY, offsets, stack, dX, accumulate);
          for (const [e, count] of counts.entries()) {
            if (count === 0) continue;
            const [from, to] = [device.rows(dY, bounds[e]!, count), device.rows(want, bounds[e]!, count)];
            device.linearBackward(from, device.matrix(stack, e), to, accumulate);
          }
          const got = await floats(device, dX);
          assert.equal(got, await floats(device, want), `${counts.length} experts, ${accumulate}`);
          assert.equal(got.subarray(0, k), before.subarray(0, k), 'a row of nobody stays');
        }
        dispose(stack, dY, dX, want, offsets);
      }
    });
  }

  on('linearGroupedWeights: by expert the product of its rows', async () => {
    for (const { counts, n, k } of [
      { counts: [1, 0, 1], n: 40, k: 24 },
      { counts: [7, 0, 61, 600, 1, 13], n: 72, k: 45 },
      { counts: Array.from({ length: 41 }, (_, e) => 9 + (e % 3)), n: 19, k: 64 },
    ]) {
      const [bounds, rows] = boundsOf(counts);
      const [y, x, before] = [randomF32(rows * n, 4), randomF32(rows * k, 5), randomF32(counts.length * n * k, 6)];
      const [dY, input] = [put(device, [rows, n], y), put(device, [rows, k], x)];
      const dW = put(device, [counts.length, n, k], before);
      const offsets = putInts(device, [bounds.length], bounds);
      device.linearGroupedWeights(dY, offsets, input, dW);
      const got = await floats(device, dW);
      const want = new Float64Array(before);
      for (const [e, count] of counts.entries()) {
        const [a, b] = [y.subarray(bounds[e]! * n), x.subarray(bounds[e]! * k)];
        product(n, k, count, a, b, { transposeA: true }).forEach((v, i) => {
          want[e * n * k + i]! += v;
        });
      }
      const error = worstError(got, want);
      assert.ok(worst.within('linearGroupedWeights', error, BOUND), `${counts.length} experts: ${error}`);
      sameBits(name, `weights of ${counts.length} experts`, got);
      dispose(dY, input, dW, offsets);
    }
  });

  on('embedBackward: rows are added in their order, to the bit', async () => {
    for (const [tokens, vocabulary, k] of [
      [1, 3, 5],
      [40, 7, 19],
      [300, 50, 136],
    ] as const) {
      const [y, want] = [randomF32(tokens * k, 1), randomF32(vocabulary * k, 2)];
      const list = randomF32(tokens, 3).map((v) => Math.floor(((v + 1) / 2) * vocabulary));
      const [dY, dW] = [put(device, [tokens, k], y), put(device, [vocabulary, k], want)];
      const ids = putInts(device, [tokens], list);
      device.embedBackward(ids, dY, dW);
      for (let i = 0; i < y.length; i++) want[list[Math.floor(i / k)]! * k + (i % k)]! += y[i]!;
      assert.equal(await floats(device, dW), want, `${tokens} tokens`);
      // ids that are none meet some row, and no other memory
      device.write(
        ids,
        Int32Array.from({ length: tokens }, (_, t) => (t % 2 ? -1 - t : vocabulary + t)),
      );
      device.embedBackward(ids, dY, dW);
      const got = await floats(device, dW);
      assert.equal(got.subarray(k, (vocabulary - 1) * k), want.subarray(k, (vocabulary - 1) * k), 'rows between');
      dispose(dY, dW, ids);
    }
  });
}

/** Offsets of experts with so many rows, behind one row of nobody and before two; and how many rows that makes. */
function boundsOf(counts: readonly number[]): [number[], number] {
  const bounds = [1];
  for (const n of counts) bounds.push(bounds.at(-1)! + n);
  return [bounds, bounds.at(-1)! + 2];
}

testNothingLeft(all, worst);

test.run();
