/** What training does element by element, and sums, against the formulas. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Tensor } from '../../src/device/device.ts';
import { onGpu, put, testNothingLeft, testsOn, trainDevices, Worst } from './devices.ts';
import { randomF32, worstError } from './reference.ts';

const all = await trainDevices();
const worst = new Worst();
/** One element, some that fill no vector, and enough for every lane. */
const SIZES = [1, 7, 100_003];
/** Of sums of squares, by length: every device has the same bits. */
const sums = new Map<number, number>();

for (const { name, device } of all) {
  const on = testsOn(name, device);
  const floats = async (t: Tensor) => (await device.read(t)) as Float32Array;

  on('fill: every element, and none beside', async () => {
    const x = put(device, [5, 7], randomF32(35, 1));
    device.fill(device.rows(x, 1, 3), 2.5);
    const want = randomF32(35, 1).fill(2.5, 7, 28);
    assert.equal(await floats(x), want);
    x.dispose();
  });

  on('axpy: y + alpha x, to the bit on a CPU', async () => {
    for (const n of SIZES) {
      const [a, b] = [randomF32(n, 1), randomF32(n, 2)];
      const [x, y] = [put(device, [n], a), put(device, [n], b)];
      device.axpy(-0.37, x, y);
      const want = b.map((v, i) => v + Math.fround(Math.fround(-0.37) * a[i]!)); // f32 of f64: one rounding each
      // a GPU may round once where a CPU rounds twice
      if (onGpu) assert.ok(worst.within('axpy', worstError(await floats(y), want), 1.2e-7 / 4), `${n}`);
      else assert.equal(await floats(y), want, `${n}`);
      assert.equal(await floats(x), a, 'x stays');
      for (const t of [x, y]) t.dispose();
    }
  });

  on('columnSum: adds rows to what is there, in their order and to the bit on a CPU', async () => {
    const most = onGpu ? [5000, 3] : [5, 9000]; // of more pieces than a GPU sums at once
    for (const [rows, n] of [[1, 1], [6, 3], [64, 65], [403, 139], [5, 9000], most] as const) {
      const [values, before] = [randomF32(rows * n!, 1), randomF32(n!, 2)];
      const [x, out, again] = [put(device, [rows!, n!], values), put(device, [n!], before), put(device, [n!], before)];
      device.columnSum(x, out);
      device.columnSum(x, again);
      const got = await floats(out);
      if (onGpu) {
        const want = Float64Array.from(before);
        for (let i = 0; i < values.length; i++) want[i % n!]! += values[i]!;
        assert.ok(worst.within('columnSum', worstError(got, want), 1e-7), `${rows} rows of ${n}`);
      } else {
        const want = before;
        for (let i = 0; i < values.length; i++) want[i % n!]! += values[i]!;
        assert.equal(got, want, `${rows} rows of ${n}`);
      }
      assert.equal(await floats(again), got, 'the same bits again');
      for (const t of [x, out, again]) t.dispose();
    }
  });

  on('sumSquares: adds the sum, in f64 on a CPU and the same bits for any lanes', async () => {
    for (const n of [...SIZES, 4096, 1 << 20]) {
      const values = randomF32(n, 3);
      const [x, out] = [put(device, [n], values), put(device, [1], [0])];
      device.sumSquares(x, out);
      const exact = values.reduce((sum, v) => sum + v * v, 0);
      const [got] = await floats(out);
      assert.ok(worst.within('sumSquares', Math.abs(got! / exact - 1), 6e-8), `${got} for ${exact}`);
      assert.is(got, sums.get(n) ?? got, `${n} elements`);
      sums.set(n, got!);
      device.fill(out, 10);
      device.sumSquares(x, out);
      const [more] = await floats(out);
      if (onGpu) assert.ok(worst.within('sumSquares', Math.abs(more! / (10 + exact) - 1), 6e-8), 'on top');
      else assert.is(more, Math.fround(10 + exact), 'on top of what is there');
      for (const t of [x, out]) t.dispose();
    }
  });
}

testNothingLeft(all, worst);

test.run();
