// device: wasm — is about the CPU’s class
/** A device in debug mode says where each live tensor was made. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Tensor } from '../../src/device/device.ts';
import { create } from './devices.ts';
import { stored } from './sources.ts';

const device = await create({ debug: true });

test('a debug build says where each live tensor was made', async () => {
  function leakHere(): Tensor {
    return device.tensor('f32', [3, 4]);
  }
  const leak = leakHere();
  const all = device.liveTensors();
  assert.is(all.length, 1);
  assert.match(all[0]!, /^f32 \[3, 4\] rows\n/);
  assert.match(all[0]!, 'leakHere');
  assert.match(all[0]!, 'live-tensors.test');
  leak.dispose();
  assert.equal(device.liveTensors(), []);
  const plain = await create();
  const t = plain.tensor('f32', [3, 4]);
  assert.equal(plain.liveTensors(), ['f32 [3, 4] rows']);
  t.dispose();
  plain.close();
});

test('the first frame is that of the caller, whatever made the tensor', async () => {
  const source = stored('f32', 1, 4, 1);
  for (const make of [
    () => device.tensor('f32', [4]),
    () => device.loadMatrix(source),
    () => device.loadMatrices([source, source]),
    () => device.loadVector(source),
  ]) {
    const made = await make();
    assert.match(device.liveTensors()[0]!.split('\n')[1]!, 'live-tensors.test', `${make}`);
    made.dispose();
  }
  device.close();
});

test.run();
