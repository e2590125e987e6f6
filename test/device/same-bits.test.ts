// device: wasm — holds builds of the CPU against each other
/**
 * Plain SIMD gives the same bits whichever micro-kernel a device has timed as the fastest, and for any lanes: what is made from products,
 * such as a grown model, can then be the same everywhere.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { normal } from '../svd/algebras.ts';
import { exactDevices, testNothingLeft } from './devices.ts';

const all = await exactDevices();
const plain = all.filter(({ name }) => name.startsWith('plain'));

test('products: sums of more than one block, edges, transposes, on top of what is there', async () => {
  // 512 terms are a block; 67 and 45 are multiples of no tile
  const [m, n, k] = [67, 45, 1100];
  const [a, b, c] = [m * k, k * n, m * n].map((count, i) => Float32Array.from(normal(count, i + 1)));
  for (const accumulate of [false, true]) {
    for (const [transposeA, transposeB] of [
      [false, false],
      [true, false],
      [false, true],
    ] as const) {
      const results: Float32Array[] = [];
      for (const { device } of plain) {
        const shapes = [transposeA ? [k, m] : [m, k], transposeB ? [n, k] : [k, n], [m, n]];
        const [x, y, z] = shapes.map((shape) => device.tensor('f32', shape));
        device.write(x!, a!);
        device.write(y!, b!);
        device.write(z!, c!);
        device.matmul(x!, y!, z!, { transposeA, transposeB, accumulate, alpha: 0.3 });
        results.push((await device.read(z!)) as Float32Array);
        for (const t of [x, y, z]) t!.dispose();
      }
      for (const [i, { name }] of plain.entries()) {
        assert.equal(results[i], results[0], `${name}, ${transposeA} ${transposeB} ${accumulate}`);
      }
    }
  }
  assert.ok(plain.length >= 2);
});

testNothingLeft(all);

test.run();
