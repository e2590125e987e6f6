/** Factors of an asymmetric adapter: what a step may change, to the bit, and what it is equal to. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  type RoutedMatrix,
  readRouted,
  routedFiles,
  type WrittenRouted,
} from '../../src/checkpoint/adapter/routed-write.ts';
import { ROUTING_RULE } from '../../src/checkpoint/adapter/routing.ts';
import { WasmTrainDevice } from '../../src/device/wasm/wasm-train-device.ts';
import { EspalierError } from '../../src/errors.ts';
import { withTerms } from '../../src/model/adapters.ts';
import { Decoder } from '../../src/model/decoder.ts';
import { AsymmetricFactors, type AsymmetricSpec, type FactorRole, TRAINED } from '../../src/prune/adapter/factors.ts';
import { TrainableGate } from '../../src/prune/gate/train-gate.ts';
import type { TrainedTerms } from '../../src/train/decoder-trainable.ts';
import { LoraFactors } from '../../src/train/lora-factors.ts';
import { AdamW } from '../../src/train/optimiser.ts';
import type { MicroBatch } from '../../src/train/trainable.ts';
import { put } from '../device/devices.ts';
import { randomF32 } from '../device/reference.ts';
import { code } from '../errors.ts';
import { tinyDecoder } from '../model/tiny.ts';
import { batchOf, gradientCases, gradientsOf, tinyTrainable } from '../train/decoders.ts';

const MODEL = 'llama-gqa';
const device = await WasmTrainDevice.create();
const cases = await gradientCases();
const batch = batchOf(cases.find(({ model }) => model === MODEL)!);
const rows = batch.ids.length;
const probe = await tinyTrainable(MODEL, device);
const { config } = probe;
probe.dispose();

const LORA = { rank: 4, alpha: 8, rslora: false, targets: null, seed: 5 };
const factorsOf = (spec: Partial<AsymmetricSpec> = {}) =>
  new AsymmetricFactors(device, config, { ...LORA, experts: 2, ...spec });

/** Coefficients [rows, experts], the same for every row. */
const routed = (...coefficients: number[]): MicroBatch => ({
  ...batch,
  routing: Float32Array.from({ length: rows * coefficients.length }, (_, i) => coefficients[i % coefficients.length]!),
});

async function valuesOf({ factors }: TrainedTerms): Promise<Map<string, Float32Array>> {
  const read = (await device.read(factors.map(({ value }) => value))) as Float32Array[];
  return new Map(factors.map(({ name }, i) => [name, read[i]!]));
}

/** Random numbers in all factors that the choice names. */
function fill({ factors }: TrainedTerms, chosen: (name: string) => boolean = () => true): void {
  for (const [i, { name, shape, value }] of factors.entries()) {
    if (chosen(name)) device.write(value, randomF32(shape[0]! * shape[1]!, 40 + i, 0.2));
  }
}

test('names, roles and what is refused', () => {
  const factors = factorsOf();
  const sites = config.nLayers * 7;
  assert.is(factors.factors.length, 4 * sites);
  const q = 'base_model.model.model.layers.1.self_attn.q_proj.lora_';
  const names = ['A', 'B.retain', 'B.forget-1', 'B.forget-2'].map((end) => `${q}${end}.weight`);
  assert.equal(
    names.map((name) => factors.roles.get(name)),
    ['shared', 'retain', 'forget-1', 'forget-2'],
  );
  assert.is(new Set(factors.factors.map(({ name }) => name)).size, factors.factors.length);
  const counts = (roles: readonly FactorRole[]) => factors.factors.filter(factors.trained(roles)).length;
  assert.is(counts(TRAINED.phaseOne), 2 * sites);
  assert.is(counts(TRAINED.forget(1)), sites);
  assert.is(counts(TRAINED.retain), sites);
  assert.is(factors.trained(TRAINED.phaseOne)({ name: 'model.norm.weight' }), false);
  assert.throws(() => factors.trained(TRAINED.forget(2)), code('E_ARGUMENT'));
  assert.is(factors.append(), 2);
  assert.is(factors.experts, 3);
  assert.is(counts(TRAINED.forget(2)), sites);
  factors.dispose();
  for (const wrong of [{ experts: -1 }, { experts: 1.5 }, { targets: ['nothing'] }]) {
    assert.throws(() => factorsOf(wrong), code('E_ARGUMENT'));
  }
  assert.is(device.stats().tensors, 0);
});

test('memory that ends in the middle leaves the adapter as it was', () => {
  let left = Number.POSITIVE_INFINITY;
  const small = new Proxy(device, {
    get: (of, name) => {
      if (name === 'tensor' && left-- <= 0) throw new EspalierError('E_OUT_OF_MEMORY', 'No memory.', 'Less.');
      const own: unknown = Reflect.get(of, name);
      return typeof own === 'function' ? own.bind(of) : own;
    },
  });
  const factors = new AsymmetricFactors(small, config, { ...LORA, experts: 1 });
  const [count, { tensors }] = [factors.factors.length, device.stats()];
  left = 3;
  assert.throws(() => factors.append(), code('E_OUT_OF_MEMORY'));
  assert.is(device.stats().tensors, tensors);
  assert.is(factors.experts, 1);
  assert.is(factors.factors.length, count);
  left = Number.POSITIVE_INFINITY;
  assert.is(factors.append(), 1);
  factors.dispose();
  left = count - 1;
  assert.throws(() => new AsymmetricFactors(small, config, { ...LORA, experts: 1 }), code('E_OUT_OF_MEMORY'));
  assert.is(device.stats().tensors, 0);
});

test('a step changes the factors of its role, and no bit of the others', async () => {
  const factors = factorsOf();
  factors.append();
  fill(factors, (name) => name.includes('retain') || name.includes('forget-1'));
  const trainable = await tinyTrainable(MODEL, device, { adapter: factors, trainable: () => false });
  const adam = new AdamW(trainable, { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.01, clip: 1 });
  const hinge = new Float32Array(rows).fill(1 / rows);
  const entropies = { order: 1.5, base: hinge, weights: hinge };
  const forgetting = (...coefficients: number[]) => ({
    ...routed(...coefficients),
    weights: new Float32Array(rows),
    hinge,
  });
  const steps: [readonly FactorRole[], MicroBatch][] = [
    [TRAINED.phaseOne, { ...batch, invariance: entropies }],
    [TRAINED.forget(0), forgetting(1, 0, 0)],
    [TRAINED.retain, batch],
    [TRAINED.forget(2), forgetting(0, 0, 1)],
    [TRAINED.forget(1), forgetting(0.5, 0.5, 0.5)],
    [TRAINED.retain, routed(1, 0, 1)],
  ];
  for (const [roles, own] of steps) {
    const before = await valuesOf(factors);
    trainable.train(factors.trained(roles));
    await trainable.step(own, {});
    const isTrained = factors.trained(roles);
    for (const [name, gradient] of await gradientsOf(trainable)) {
      assert.ok(isTrained({ name }) && gradient.some((v) => v !== 0), name);
    }
    adam.step(1e-2, await adam.norm());
    trainable.repack();
    for (const [name, value] of await valuesOf(factors)) {
      if (isTrained({ name })) assert.not.equal(value, before.get(name), `${name} in ${roles}`);
      else assert.equal(value, before.get(name), `${name} in ${roles}`);
    }
  }
  adam.dispose();
  trainable.dispose();
});

test('A has no gradient where every B is zeros and none is trained', async () => {
  const factors = factorsOf();
  const trainable = await tinyTrainable(MODEL, device, { adapter: factors, trainable: () => false });
  trainable.train(factors.trained(['shared']));
  await trainable.step(routed(1, 1), {});
  for (const [name, gradient] of await gradientsOf(trainable))
    assert.ok(
      gradient.every((v) => v === 0),
      name,
    );
  // what Phase I trains has one, once B_r has moved
  const adam = new AdamW(trainable, { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0, clip: null });
  trainable.train(factors.trained(TRAINED.phaseOne));
  for (const isFirst of [true, false]) {
    trainable.zeroGradients();
    await trainable.step(batch, {});
    for (const [name, gradient] of await gradientsOf(trainable)) {
      const isStill = isFirst && factors.roles.get(name) === 'shared';
      assert.is(
        gradient.every((v) => v === 0),
        isStill,
        name,
      );
    }
    adam.step(1e-2, 1);
  }
  adam.dispose();
  trainable.dispose();
});

/** Logits of the model with these terms. */
async function logits(adapter: TrainedTerms | null, coefficients: readonly number[] | null): Promise<Float32Array> {
  const base = await tinyDecoder(MODEL, device, 'exact');
  const weights = adapter ? withTerms(base.weights, adapter.terms) : base.weights;
  const decoder = new Decoder(device, config, weights, 'exact');
  const ids = batch.ids.subarray(0, 19);
  const routing =
    coefficients &&
    put(
      device,
      [ids.length, coefficients.length],
      Float32Array.from({ length: ids.length * coefficients.length }, (_, i) => coefficients[i % coefficients.length]!),
    );
  const cache = decoder.cache();
  const found = new Float32Array(ids.length * config.vocabSize);
  await decoder.forward([...ids], cache, {
    ...(routing && { routing }),
    onChunk: async (normed, first) => {
      found.set((await device.read(decoder.logits(normed))) as Float32Array, first * config.vocabSize);
    },
  });
  cache.dispose();
  routing?.dispose();
  decoder.ropes.dispose();
  base.dispose();
  return found;
}

const distance = (a: Float32Array, b: Float32Array) => a.reduce((most, v, i) => Math.max(most, Math.abs(v - b[i]!)), 0);

test('zeros in every B: the bits of the base', async () => {
  const factors = factorsOf();
  const base = await logits(null, null);
  assert.equal(await logits(factors, null), base);
  assert.equal(await logits(factors, [1, 0.3]), base);
  factors.dispose();
});

test('one expert with coefficient 1 is one LoRA, to the bit', async () => {
  const [factors, lora] = [factorsOf({ experts: 1 }), new LoraFactors(device, config, LORA)];
  for (const { name, value } of factors.factors.filter(({ name }) => name.includes('forget-1'))) {
    const other = lora.factors.find((one) => one.name === name.replace('.forget-1', ''))!;
    const numbers = randomF32(other.shape[0]! * other.shape[1]!, 3, 0.2);
    for (const tensor of [value, other.value]) device.write(tensor, numbers);
  }
  const one = await logits(lora, null);
  assert.equal(await logits(factors, [1]), one);
  assert.ok(distance(one, await logits(null, null)) > 0.01);
  // and so it is written
  assert.equal(await factors.written(device, (role) => (role === 'forget-1' ? 1 : 0)), await lora.written(device));
  factors.dispose();
  lora.dispose();
});

test('fixed coefficients are one LoRA of the same rank', async () => {
  const [factors, lora] = [factorsOf(), new LoraFactors(device, config, LORA)];
  fill(factors, (name) => !name.includes('lora_A'));
  const coefficients: Record<string, number> = { retain: 1, 'forget-1': 0.25, 'forget-2': -0.6 };
  const written = await factors.written(device, (role) => coefficients[role]!);
  for (const [i, { a, b }] of written.entries()) {
    assert.equal(a, (await device.read(lora.factors[2 * i]!.value)) as Float32Array);
    device.write(lora.factors[2 * i + 1]!.value, b);
  }
  const [got, want] = [await logits(factors, [0.25, -0.6]), await logits(lora, null)];
  assert.ok(distance(got, want) < 1e-4, `${distance(got, want)}`);
  assert.ok(distance(want, await logits(null, null)) > 0.01);
  factors.dispose();
  lora.dispose();
});

test('in files and back they are the same numbers, experts in their order', async () => {
  const factors = factorsOf();
  fill(factors);
  const matrices = await factors.matrices(device);
  const gate = new TrainableGate(device, { kind: 'global', hidden: config.hiddenSize, units: 3, slots: 3 }, 1);
  const written: WrittenRouted = {
    config,
    base: MODEL,
    rank: LORA.rank,
    scale: factors.scale,
    experts: ['forget-1', 'forget-2'].map((name) => ({ name, request: name })),
    rule: ROUTING_RULE,
    factors: matrices,
    gate: await gate.values(),
  };
  assert.is(written.scale, 2);
  const files = Object.fromEntries(routedFiles({ ...written, rule: { ...ROUTING_RULE, cut: null } }));
  const read = await readRouted(files as Record<string, Uint8Array>, { name: MODEL, config });
  const order = (list: readonly RoutedMatrix[]) =>
    [...list].sort((a, b) => a.layer - b.layer || (a.part < b.part ? -1 : 1));
  assert.equal(order(read.factors), order(matrices));
  assert.equal(read.gate, written.gate);
  const values = await valuesOf(factors);
  const up = matrices.find(({ layer, part }) => layer === 1 && part === 'up')!;
  assert.equal(up.forget[1], values.get('base_model.model.model.layers.1.mlp.up_proj.lora_B.forget-2.weight'));
  gate.dispose();
  factors.dispose();
});

test('nothing is left on the device', () => {
  assert.is(device.stats().tensors, 0, device.liveTensors().join('\n'));
  device.close();
});

test.run();
