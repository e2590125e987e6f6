/** Linear algebra over a device's memory and lanes. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { WasmDevice } from '../../src/device/wasm/wasm-device.ts';
import type { EspalierError } from '../../src/errors.ts';
import { length2 } from '../../src/svd/divide.ts';
import { LinearAlgebra } from '../../src/svd/index.ts';
import { lanesPossible, normal } from './algebras.ts';

const [rows, columns] = [150, 260];
const a = normal(rows * columns, 3);

async function code(work: () => unknown): Promise<string> {
  try {
    await work();
  } catch (error) {
    return (error as EspalierError).code;
  }
  return '';
}

test('the same bits as over a memory of its own, for any lanes, beside tensors of the device', async () => {
  const own = await LinearAlgebra.create({ relaxed: false });
  const expected = await own.svd(a, { rows, columns });
  const gram = await own.gram(a, { rows, columns, side: 'left' });
  const eig = await own.symmetricEig(gram, { n: rows });
  own.close();
  for (const lanes of lanesPossible ? [1, 2] : [1]) {
    const device = await WasmDevice.create({ relaxed: false, lanes });
    const tensor = device.tensor('f32', [1000]);
    const values = Float32Array.from({ length: 1000 }, (_, i) => i);
    device.write(tensor, values);
    const algebra = LinearAlgebra.over(device);
    assert.is(algebra.lanes, lanes);
    assert.equal(await algebra.svd(a, { rows, columns }), expected);
    assert.equal(await algebra.gram(a, { rows, columns, side: 'left' }), gram);
    assert.equal(await algebra.symmetricEig(gram, { n: rows }), eig);
    algebra.close();
    assert.equal(await device.read(tensor), values);
    device.close();
  }
});

test('close leaves the device, and returns what was taken of its memory when no call is under way', async () => {
  const device = await WasmDevice.create({ relaxed: false });
  const { memory } = device.parts();
  const before = memory.bytesInUse;
  const algebra = LinearAlgebra.over(device);
  assert.ok(memory.bytesInUse > before);
  const running = algebra.svd(a, { rows, columns });
  algebra.close();
  algebra.close();
  assert.ok(memory.bytesInUse > before, 'a call is under way');
  assert.is(await code(() => algebra.gram(a, { rows, columns, side: 'left' })), 'E_DISPOSED');
  assert.is((await running).s.length, rows);
  assert.is(memory.bytesInUse, before);
  const idle = LinearAlgebra.over(device);
  idle.close();
  assert.is(memory.bytesInUse, before);
  const x = device.tensor('f32', [4]);
  device.scale(x, 2);
  x.dispose();
  device.close();
});

test('a closed device has no linear algebra', async () => {
  const device = await WasmDevice.create({ relaxed: false });
  const algebra = LinearAlgebra.over(device);
  device.close();
  assert.is(await code(() => algebra.svd(a, { rows, columns })), 'E_DISPOSED');
  assert.is(await code(() => LinearAlgebra.over(device)), 'E_DISPOSED');
  algebra.close();
});

test('the length of a pair, without overflow', () => {
  assert.is(length2(0, 0), 0);
  assert.is(length2(3, -4), 5);
  assert.is(length2(3e300, 4e300), 5e300);
  assert.is(length2(-3e-300, 4e-300), 5e-300);
});

test.run();
