/** Losses and gradients of whole models, a tiny one of every family and nano-base, against PyTorch. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { WasmTrainDevice } from '../../src/device/wasm/wasm-train-device.ts';
import { DecoderReference } from '../../src/train/decoder-reference.ts';
import { Worst } from '../device/devices.ts';
import { tinyDecoder } from '../model/tiny.ts';
import { batchOf, distanceTo, gradientCases, gradientsOf, tinyTrainable } from './decoders.ts';

const LOSSES = 1e-5; // relative
const GRADIENTS = 1e-4; // relative to their norm
const worst = new Worst();
const device = await WasmTrainDevice.create();
const plain = await WasmTrainDevice.create({ relaxed: false });
const cases = await gradientCases();

test('all 32 models are there', () => assert.is(cases.length, 32));

for (const [where, on] of [
  ['default', device],
  ['plain SIMD', plain],
] as const) {
  for (const one of cases) {
    test(`${one.model}: gradients are those of PyTorch [${where}]`, async () => {
      const reference = one.reference === null ? null : await tinyDecoder(one.reference, on, 'exact');
      const trainable = await tinyTrainable(one.model, on, {
        reference: reference ? new DecoderReference(reference) : undefined,
      });
      trainable.train(() => true);
      const batch = batchOf(one);
      const losses = await trainable.step(batch, one.factors);
      for (const key of ['crossEntropy', 'balance', 'z', 'divergence'] as const) {
        const [got, want] = [losses[key], one.losses[key]];
        const error = want === 0 ? Math.abs(got) : Math.abs(got - want) / want;
        assert.ok(worst.within(key, error, LOSSES), `${key}: ${got}, not ${want}`);
      }
      const gradients = await gradientsOf(trainable);
      assert.equal([...gradients.keys()].sort(), Object.keys(one.gradients).sort());
      const where = one.model === 'nano-base' ? 'nano-base' : 'tiny models';
      const total = Math.hypot(...Object.values(one.gradients).map(({ norm }) => norm));
      for (const [name, gradient] of gradients) {
        const error = distanceTo(gradient, one.gradients[name]!, name.endsWith('k_proj.bias') ? 1e-3 * total : 0);
        assert.ok(worst.within(`gradient, ${where}`, error, GRADIENTS), `${name}: ${error}`);
      }

      const evaluated = await trainable.evaluate(batch, one.factors);
      assert.equal(evaluated, losses, 'forward alone');
      trainable.zeroGradients();
      const kept = await trainable.step(batch, { ...one.factors, recompute: false });
      assert.equal(kept, losses, 'losses without recomputing');
      const again = await gradientsOf(trainable);
      for (const [name, gradient] of gradients) assert.equal(again.get(name), gradient, `${name} without recomputing`);
      trainable.dispose();
      reference?.dispose();
    });
  }
}

test('nothing is left', () => {
  for (const one of [device, plain]) {
    assert.is(one.stats().tensors, 0, one.liveTensors().join('\n'));
    one.close();
  }
  worst.print();
});

test.run();
