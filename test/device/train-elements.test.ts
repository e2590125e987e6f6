/** What training does element by element, and sums, against the formulas. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Tensor } from '../../src/device/device.ts';
import { put, testNothingLeft, testsOn, trainDevices, Worst } from './devices.ts';
import { randomF32 } from './reference.ts';

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

  on('axpy: y + alpha x, to the bit', async () => {
    for (const n of SIZES) {
      const [a, b] = [randomF32(n, 1), randomF32(n, 2)];
      const [x, y] = [put(device, [n], a), put(device, [n], b)];
      device.axpy(-0.37, x, y);
      const want = b.map((v, i) => v + Math.fround(Math.fround(-0.37) * a[i]!)); // f32 of f64: one rounding each
      assert.equal(await floats(y), want, `${n}`);
      assert.equal(await floats(x), a, 'x stays');
      for (const t of [x, y]) t.dispose();
    }
  });

  on('columnSum: adds rows in their order, to the bit', async () => {
    for (const [rows, n] of [
      [1, 1],
      [6, 3],
      [403, 139],
      [5, 9000],
    ] as const) {
      const [values, want] = [randomF32(rows * n, 1), randomF32(n, 2)];
      const [x, out] = [put(device, [rows, n], values), put(device, [n], want)];
      device.columnSum(x, out);
      for (let i = 0; i < values.length; i++) want[i % n]! += values[i]!;
      assert.equal(await floats(out), want, `${rows} rows of ${n}`);
      for (const t of [x, out]) t.dispose();
    }
  });

  on('sumSquares: adds the sum in f64, the same bits for any lanes', async () => {
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
      assert.is((await floats(out))[0], Math.fround(10 + exact), 'on top of what is there');
      for (const t of [x, out]) t.dispose();
    }
  });
}

testNothingLeft(all, worst);

test.run();
