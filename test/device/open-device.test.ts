/** One way to a device, and what is not one. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openDevice, openExactDevice } from '../../src/device/open-device.ts';
import { rejects } from '../errors.ts';

test('auto and wasm are the CPU device, with its options', async () => {
  for (const device of [await openDevice(), await openDevice('auto'), await openDevice('wasm', { debug: true })]) {
    assert.is(device.kind, 'wasm');
    device.close();
  }
  const plain = await openDevice('auto', { relaxed: false, memoryLimit: 8 << 20 });
  assert.is(plain.description['simd'], 'plain');
  assert.throws(
    () => plain.tensor('f32', [8 << 20]),
    (error: { code: string }) => error.code === 'E_OUT_OF_MEMORY',
  );
  plain.close();
});

test('an exact device is plain SIMD and draws', async () => {
  const device = await openExactDevice();
  assert.is(device.description['simd'], 'plain');
  const t = device.tensor('f32', [64]);
  device.perturb({ to: t, from: null, std: 1, seed: 1 });
  assert.ok(((await device.read(t)) as Float32Array).every((x) => x !== 0 && Math.abs(x) < 6));
  device.close();
});

test('a GPU is refused, by its name and as an object, and what is no device is told apart', async () => {
  const gpu = { queue: {}, createBuffer: () => ({}) };
  for (const kind of ['webgpu', gpu] as const) {
    const error = await rejects('E_DEVICE_UNSUPPORTED', () => openDevice(kind));
    assert.match(error.message, 'WebGPU');
    assert.match(error.hint, 'wasm');
  }
  for (const kind of ['cuda', 7, null, {}, { queue: {} }, () => {}]) {
    await rejects('E_ARGUMENT', () => openDevice(kind as never));
  }
  await rejects('E_ARGUMENT', () => openDevice('wasm', { lanes: 0 }));
});

test.run();
