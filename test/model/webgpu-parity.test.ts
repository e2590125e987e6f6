// device: webgpu — holds a GPU against the CPU
/** The embedded model on a GPU and on the CPU, over 500 positions of real text, for which SwiftShader takes four minutes; webgpu-parity-long has 2,000. */
import { test } from 'uvu';
import { compareDevices } from './parity.ts';

test('nano-base: the same likeliest tokens, the same numbers, the same text', () =>
  compareDevices('models/nano-base', 500));

test.run();
