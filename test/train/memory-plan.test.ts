/** What a plan says that a kernel takes for itself is what it takes. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { instantiate, loadKernels } from '../../src/device/wasm/load-kernels.ts';
import { attentionBackwardBytes } from '../../src/train/plan/memory.ts';

test('scratch of attention on the way back, of any length and width', async () => {
  const kernels = await instantiate(await loadKernels(false), new WebAssembly.Memory({ initial: 16, maximum: 65536 }));
  for (const headDim of [1, 8, 12, 63, 64, 65, 80, 128, 256]) {
    for (const keys of [1, 7, 64, 65, 1000, 1024, 8191, 32768]) {
      const [taken, planned] = [kernels.attentionBackwardScratch(keys, headDim), attentionBackwardBytes(keys, headDim)];
      assert.ok(planned >= taken, `${keys} keys of ${headDim}: ${planned} for ${taken}`);
      // rounded up, to 8 keys and 8 columns
      if (headDim >= 64) assert.ok(planned < 1.15 * taken, `${keys} keys of ${headDim}: ${planned} for ${taken}`);
    }
  }
});

test.run();
