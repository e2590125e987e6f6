/** What comes back from a device: one tensor or several, as they were when they were asked for. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Device } from '../../src/device/device.ts';
import { rejects } from '../errors.ts';
import { devices, put, putInts } from './devices.ts';

const all = await devices();

for (const { name, device } of all) {
  const on = (title: string, run: (on: Device) => Promise<void>) => test(`${title} [${name}]`, () => run(device));

  on('several tensors come in their order, each by its type', async () => {
    const floats = put(device, [2, 3], [1, 2, 3, 4, 5, 6]);
    const ints = putInts(device, [2], [7, -8]);
    const words = device.tensor('u32', [1]);
    device.write(words, Uint32Array.of(0xffffffff));
    const halves = device.tensor('f16', [2]);
    device.write(halves, Uint16Array.of(0x3c00, 0xbc00));
    const got = await device.read([floats, ints, device.rows(floats, 1, 1), words, halves, floats]);
    assert.equal(got, [
      Float32Array.of(1, 2, 3, 4, 5, 6),
      Int32Array.of(7, -8),
      Float32Array.of(4, 5, 6),
      Uint32Array.of(0xffffffff),
      Uint16Array.of(0x3c00, 0xbc00),
      Float32Array.of(1, 2, 3, 4, 5, 6),
    ]);
    (got[0] as Float32Array)[0] = 99; // what was read is the reader's own
    assert.is((await device.read(floats))[0], 1);
    assert.is((got[5] as Float32Array)[0], 1);
    assert.equal(await device.read([]), []);
    for (const t of [floats, ints, words, halves]) t.dispose();
  });

  on('the content is that of the call, whatever is enqueued or disposed of behind it', async () => {
    const [x, y] = [put(device, [4], [1, 2, 3, 4]), putInts(device, [1], [5])];
    const one = device.read(x);
    const both = device.read([x, y]);
    const bytes = device.readBytes(y);
    device.scale(x, 10);
    device.write(y, Int32Array.of(6));
    const after = device.read([x, y]);
    x.dispose();
    y.dispose();
    assert.equal(await one, Float32Array.of(1, 2, 3, 4));
    assert.equal(await both, [Float32Array.of(1, 2, 3, 4), Int32Array.of(5)]);
    assert.equal(await bytes, Uint8Array.of(5, 0, 0, 0));
    assert.equal(await after, [Float32Array.of(10, 20, 30, 40), Int32Array.of(6)]);
  });

  on('one that cannot be read fails the whole', async () => {
    const [good, gone, small] = [device.tensor('f32', [1]), device.tensor('f32', [1]), device.tensor('i8', [1])];
    gone.dispose();
    await rejects('E_DISPOSED', () => device.read([good, gone]));
    await rejects('E_SHAPE', () => device.read([good, small]));
    for (const t of [good, small]) t.dispose();
    assert.is(device.stats().tensors, 0);
  });
}

test.after(() => {
  for (const { device } of all) device.close();
});
test.run();
