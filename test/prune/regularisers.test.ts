/** What keeps structure in Phase I: that it is what its formula says, by finite differences and by another way to the same gradient. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AsymmetricFactors, TRAINED } from '../../src/prune/adapter/factors.ts';
import { type PruneSequence, STRUCTURE_REGULARISERS, structureStep } from '../../src/prune/edit/batches.ts';
import { gradientPenalty } from '../../src/prune/edit/gradient-penalty.ts';
import { DecoderReference } from '../../src/train/decoder-reference.ts';
import type { DecoderTrainable } from '../../src/train/decoder-trainable.ts';
import { testNothingLeft, trainDevices, Worst } from '../device/devices.ts';
import { noise } from '../device/reference.ts';
import { rejects } from '../errors.ts';
import { tinyDecoder } from '../model/tiny.ts';
import { gradientsOf, tinyTrainable } from '../train/decoders.ts';

const MODEL = 'llama-gqa';
const worst = new Worst();
const all = await trainDevices();
const { device } = all[0]!;
const next = noise(21);
const decoder = await tinyDecoder('llama-bias', device, 'exact');
const { config } = decoder;

/** Two in three of what is learned are of high entropy. */
const sequences: PruneSequence[] = Array.from({ length: 5 }, (_, n) => ({
  ids: Int32Array.from({ length: 8 + n }, () => Math.floor(((next() + 1) / 2) * 0.999 * config.vocabSize)),
  learned: Uint8Array.from({ length: 8 + n }, (_, t) => (t >= 3 ? 1 : 0)),
  entropies: Float32Array.from({ length: 8 + n }, () => 1 + next() / 2),
  high: Uint8Array.from({ length: 8 + n }, (_, t) => (t % 3 > 0 ? 1 : 0)),
}));

async function opened(
  use: (trainable: DecoderTrainable, factors: AsymmetricFactors) => Promise<void>,
  isFresh = false,
) {
  const spec = { rank: 4, alpha: 4, rslora: false, targets: null, seed: 5, experts: 0 };
  const factors = new AsymmetricFactors(device, config, spec);
  const trainable = await tinyTrainable(MODEL, device, { adapter: factors, reference: new DecoderReference(decoder) });
  trainable.train(factors.trained(TRAINED.phaseOne));
  for (const { name, shape, value } of trainable.parameters) {
    if (factors.roles.get(name) !== 'retain' || isFresh) continue;
    device.write(
      value,
      Float32Array.from({ length: shape[0]! * shape[1]! }, () => 0.2 * next()),
    );
  }
  try {
    await use(trainable, factors);
  } finally {
    trainable.dispose();
  }
}

const isShared = (factors: AsymmetricFactors) => (own: { readonly name: string }) =>
  factors.roles.get(own.name) === 'shared';

/** Small batches, so that a step has two. */
const stepOf = (regulariser: (typeof STRUCTURE_REGULARISERS)[number], factor: number) =>
  structureStep(sequences, 30, { regulariser, order: 0.8, factor })!;

test('KL: the gradient and the loss are those of the divergence from the reference', () =>
  opened(async (trainable) => {
    const { batches } = stepOf('kl', 0.5);
    assert.ok(batches.length > 1);
    for (const batch of batches) {
      const { distillation, ...alone } = batch;
      trainable.zeroGradients();
      const found = await trainable.step(batch, {});
      const gradients = await gradientsOf(trainable);
      trainable.zeroGradients();
      const wanted = await trainable.step(alone, { divergence: 0.5 });
      assert.is(found.crossEntropy, wanted.crossEntropy);
      // less the entropy of the reference, which nothing here changes
      assert.ok(found.distillation > 0.5 * wanted.divergence && wanted.divergence > 0);
      for (const [name, want] of await gradientsOf(trainable)) {
        const error = Math.hypot(...want.map((x, i) => x - gradients.get(name)![i]!)) / Math.hypot(...want);
        assert.ok(worst.within('gradients of KL', error, 1e-5), `${name}: ${error}`);
      }
      assert.ok(distillation!.weights.some((weight) => weight > 0));
    }
  }));

test('the gradient of entropies is penalised: A and B get what the penalty changes by, and weights keep their bits', () =>
  opened(async (trainable, factors) => {
    const { penalty, batches } = stepOf('entropy-gradient', 3);
    assert.ok(penalty!.batches.length > 1 && batches.every(({ invariance }) => invariance === undefined));
    const high = sequences.flatMap((own) => [...own.high.keys()].filter((t) => own.high[t] && own.learned[t])).length;
    assert.is(penalty!.factor, 3 / high);
    const before = new Map<string, Float32Array>();
    for (const { name, value } of trainable.parameters) before.set(name, (await device.read(value)) as Float32Array);
    const value = await gradientPenalty(trainable, penalty!, isShared(factors));
    const gradients = await gradientsOf(trainable);
    for (const own of trainable.parameters) assert.equal(await device.read(own.value), before.get(own.name), own.name);
    /** The penalty by its definition. */
    const measured = async (): Promise<number> => {
      trainable.zeroGradients();
      for (const batch of penalty!.batches) await trainable.step(batch, {});
      let sum = 0;
      for (const [name, gradient] of await gradientsOf(trainable)) {
        if (isShared(factors)({ name })) for (const x of gradient) sum += x * x;
      }
      return penalty!.factor * sum;
    };
    assert.ok(worst.within('the penalty', Math.abs(value / (await measured()) - 1), 1e-5));
    for (const role of ['shared', 'retain'] as const) {
      const own = trainable.parameters.filter(({ name }) => factors.roles.get(name) === role);
      const norm = Math.hypot(...own.map(({ name }) => Math.hypot(...gradients.get(name)!)));
      const size = 0.01 * Math.hypot(...own.map(({ name }) => Math.hypot(...before.get(name)!)));
      const at = async (by: number): Promise<number> => {
        for (const { name, value } of own) {
          const gradient = gradients.get(name)!;
          device.write(
            value,
            before.get(name)!.map((x, i) => x + (by * gradient[i]!) / norm),
          );
        }
        return measured();
      };
      const slope = ((await at(size)) - (await at(-size))) / (2 * size);
      await at(0);
      const error = Math.abs(slope / norm - 1);
      assert.ok(worst.within(`finite differences, ${role}`, error, 1e-2), `${role}: ${slope}, ${norm}`);
    }
  }));

test('where all B are zeros there is nothing to penalise', () =>
  opened(async (trainable, factors) => {
    assert.is(await gradientPenalty(trainable, stepOf('entropy-gradient', 1).penalty!, isShared(factors)), 0);
    for (const [name, gradient] of await gradientsOf(trainable))
      assert.ok(
        gradient.every((x) => x === 0),
        name,
      );
  }, true));

test('weights keep their bits where it is aborted, and nothing of A trained is refused', () =>
  opened(async (trainable, factors) => {
    const shared = trainable.parameters.filter(isShared(factors));
    const before = await Promise.all(shared.map(({ value }) => device.read(value)));
    const { penalty } = stepOf('entropy-gradient', 1);
    const abort = new AbortController();
    let steps = 0;
    const own = new Proxy(trainable, {
      get(target, key) {
        if (key === 'step') {
          return (...args: Parameters<DecoderTrainable['step']>) => {
            // in the middle of the second of three passes, when A is elsewhere
            if (++steps === penalty!.batches.length + 2) abort.abort();
            return target.step(...args);
          };
        }
        const found = Reflect.get(target, key, target);
        return typeof found === 'function' ? found.bind(target) : found;
      },
    });
    await trainable.step(penalty!.batches[0]!, {}); // tables of positions are there from now on
    const { tensors } = device.stats();
    const { signal } = abort;
    await rejects('E_ABORTED', () => gradientPenalty(own, penalty!, isShared(factors), { signal }));
    assert.equal(await Promise.all(shared.map(({ value }) => device.read(value))), before);
    assert.is(device.stats().tensors, tensors);
    await rejects('E_ARGUMENT', () => gradientPenalty(trainable, penalty!, () => false));
  }));

test('a factor of 0 asks for nothing', () => {
  for (const regulariser of STRUCTURE_REGULARISERS) {
    const { batches, penalty } = stepOf(regulariser, 0);
    assert.is(penalty, undefined);
    for (const { invariance, distillation } of batches)
      assert.equal([invariance, distillation], [undefined, undefined]);
  }
});

test('the reference can go', () => decoder.dispose());
testNothingLeft(all, worst);

test.run();
