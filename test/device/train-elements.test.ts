/** What training does element by element, against the formulas in f64. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Tensor } from '../../src/device/device.ts';
import { put, testNothingLeft, testsOn, trainDevices } from './devices.ts';
import { randomF32 } from './reference.ts';

const all = await trainDevices();
/** One element, some that fill no vector, and enough for every lane. */
const SIZES = [1, 7, 100_003];

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

  on('axpy: y + alpha x', async () => {
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
}

testNothingLeft(all);

test.run();
