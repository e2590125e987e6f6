// device: webgpu — the rules are looked at on the CPU
import { test } from 'uvu';

test('runs on a GPU alone', () => {
  throw new Error('it ran');
});
test.run();
