// device: webgpu — holds a GPU against the CPU
/** Models on a GPU and on the CPU, over 2,000 positions of real text: long for a program that plays a GPU. */
import { test } from 'uvu';
import { exists } from '../files.ts';
import { compareDevices } from './parity.ts';
import { shared } from './shared-files.ts';

const file = `${shared}models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf`;

test('nano-base: the same likeliest tokens, the same numbers, the same text', () =>
  compareDevices('models/nano-base', 2000));

test('SmolLM2: the same likeliest tokens, the same numbers, the same text', async () => {
  if (await exists(file)) await compareDevices(file, 2000);
  else console.log('  skipped: ../shared is not here (SmolLM2)');
});

test.run();
