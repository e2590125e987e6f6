/** Coefficients of experts have a gradient through a whole model, and a gate is trained by it: slopes of the loss, and what is refused. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { GATE_INPUTS, GATE_KINDS, gateEntries } from '../../src/checkpoint/adapter/gate-kinds.ts';
import { WasmTrainDevice } from '../../src/device/wasm/wasm-train-device.ts';
import { AsymmetricFactors } from '../../src/prune/adapter/factors.ts';
import { softRoutingStep } from '../../src/prune/gate/soft-routing.ts';
import { TrainableGate } from '../../src/prune/gate/train-gate.ts';
import type { DecoderTrainable } from '../../src/train/decoder-trainable.ts';
import { AdamW } from '../../src/train/optimiser.ts';
import type { MicroBatch } from '../../src/train/trainable.ts';
import { Worst } from '../device/devices.ts';
import { floats, slopeError } from '../device/gradients.ts';
import { randomF32 } from '../device/reference.ts';
import { rejects } from '../errors.ts';
import { type GateNumbers, gateLogits } from '../model/gate-reference.ts';
import { batchOf, gradientCases, gradientsOf, tinyTrainable } from '../train/decoders.ts';

const EXPERTS = 2;
const HIDDEN = 6;
const UNITS = 4;
const device = await WasmTrainDevice.create();
const worst = new Worst();
test.after(() => worst.print());
const cases = await gradientCases();

interface Made {
  readonly trainable: DecoderTrainable;
  readonly batch: MicroBatch;
  readonly rows: number;
}

/** A model with random factors in the targets, and a batch for it. */
async function made(model: string, targets: readonly string[] | null = null, size = 0.15): Promise<Made> {
  const batch = batchOf(cases.find((one) => one.model === model)!);
  const plain = await tinyTrainable(model, device);
  const { config } = plain;
  plain.dispose();
  const adapter = new AsymmetricFactors(device, config, {
    ...{ rank: 3, alpha: 6, rslora: false, targets, seed: 5, experts: EXPERTS },
  });
  for (const [i, { shape, value }] of adapter.factors.entries()) {
    device.write(value, randomF32(shape[0]! * shape[1]!, 40 + i, size));
  }
  const trainable = await tinyTrainable(model, device, { adapter, trainable: () => false });
  return { trainable, batch, rows: batch.ids.length };
}

const weighted = (batch: MicroBatch): MicroBatch => ({
  ...batch,
  hinge: Float32Array.from(batch.targets, (id) => (id < 0 ? 0 : 0.05)),
});

for (const model of ['llama-gqa', 'gemma3', 'moe-qwen2']) {
  test(`${model}: the gradient by coefficients is the slope of the loss, whatever is trained`, async () => {
    const { trainable, batch: plain, rows } = await made(model);
    const routing = randomF32(rows * EXPERTS, 9, 1);
    const batch = { ...weighted(plain), routing };
    const lossAt = async (own: Float32Array): Promise<number> => {
      const { crossEntropy, hinge } = await trainable.evaluate({ ...batch, routing: own }, {});
      return crossEntropy + hinge;
    };
    const seen: Float32Array[] = [];
    const gradients: Map<string, Float32Array>[] = [];
    for (const [wanted, recompute, asks] of [
      [() => false, true, true],
      [({ name }: { name: string }) => name.includes('forget-1'), true, true],
      [({ name }: { name: string }) => name.includes('forget-1'), false, true],
      [({ name }: { name: string }) => name.includes('forget-1'), true, false],
      // the last layer alone
      [({ name }: { name: string }) => name.includes(`layers.${trainable.config.nLayers - 1}.`), true, true],
    ] as const) {
      trainable.train(wanted);
      trainable.zeroGradients();
      const onRouting = (own: Float32Array) => void seen.push(own);
      await trainable.step(batch, { recompute, ...(asks && { onRouting }) });
      gradients.push(await gradientsOf(trainable));
    }
    assert.is(seen.length, 4);
    for (const own of seen) assert.equal(own, seen[0]!);
    assert.ok(gradients[1]!.size > 0);
    assert.equal(gradients[1], gradients[3], 'asking changes no other gradient');
    const slope = await slopeError(lossAt, routing, seen[0]!, 3e-3);
    // what routers of a mixture choose moves with the coefficients
    const { moe } = trainable.config;
    assert.ok(worst.within(moe ? 'slopes, mixture' : 'slopes, dense', slope, moe ? 1e-2 : 1e-3), `${slope}`);
    trainable.dispose();
    assert.is(device.stats().tensors, 0, device.liveTensors().join('\n'));
  });
}

test('experts in one layer alone, and a batch that asks of coefficients it has not', async () => {
  const { trainable, batch, rows } = await made('llama-gqa', ['layers.1.mlp.up_proj']);
  const routing = randomF32(rows * EXPERTS, 9, 1);
  let gradient: Float32Array | null = null;
  const onRouting = (own: Float32Array) => void (gradient = own);
  await trainable.step(batch, { onRouting });
  assert.is(gradient, null);
  await trainable.step({ ...batch, routing }, { onRouting });
  const lossAt = async (own: Float32Array) => (await trainable.evaluate({ ...batch, routing: own }, {})).crossEntropy;
  const slope = await slopeError(lossAt, routing, gradient!, 3e-2);
  assert.ok(worst.within('slopes, one layer', slope, 5e-3), `${slope}`);
  trainable.dispose();
});

/** What a gate may read, by row. */
const inputsOf = (rows: number) => ({
  mean: randomF32(rows * HIDDEN, 61, 1),
  now: randomF32(rows * HIDDEN, 62, 1),
  entropy: randomF32(rows, 63, 1).map((x) => 1 + Math.abs(x)),
});

function randomised(kind: (typeof GATE_KINDS)[number]): TrainableGate {
  const gate = new TrainableGate(device, { kind, hidden: HIDDEN, units: UNITS, slots: EXPERTS + 1 }, 1);
  for (const [i, [, tensor]] of gateEntries(gate.weights).entries()) {
    device.write(
      tensor,
      randomF32(
        tensor.shape.reduce((x, y) => x * y, 1),
        70 + i,
        1,
      ),
    );
  }
  return gate;
}

const OPTIONS = { temperature: 0.7, strength: 1.5 };

test('the gradient of a gate is the slope of the loss by its weights, of every kind', async () => {
  const { trainable, batch, rows } = await made('llama-gqa');
  const inputs = inputsOf(rows);
  trainable.train(({ name }) => name.includes('forget-2'));
  for (const kind of GATE_KINDS) {
    const gate = randomised(kind);
    const weights: GateNumbers = {};
    for (const [name, tensor] of gateEntries(gate.weights)) weights[name] = await floats(device, tensor);
    /** Coefficients from the formulas, in f64. */
    const routingOf = (own: GateNumbers): Float32Array => {
      const routing = new Float32Array(rows * EXPERTS);
      for (let t = 0; t < rows; t++) {
        const row = (of: Float32Array) => of.subarray(t * HIDDEN, (t + 1) * HIDDEN);
        const at = { mean: row(inputs.mean), now: row(inputs.now), entropy: inputs.entropy[t]! };
        const e = gateLogits(kind, own, at).map((z) => Math.exp(z / OPTIONS.temperature));
        const total = e.reduce((x, y) => x + y);
        for (let i = 0; i < EXPERTS; i++) routing[t * EXPERTS + i] = (OPTIONS.strength * e[i + 1]!) / total;
      }
      return routing;
    };
    trainable.zeroGradients();
    const losses = await softRoutingStep(trainable, gate, batch, inputs, {}, OPTIONS);
    const want = await trainable.evaluate({ ...batch, routing: routingOf(weights) }, {});
    assert.ok(worst.within('loss', Math.abs(losses.crossEntropy - want.crossEntropy), 1e-5));
    for (const [name, tensor] of gateEntries(gate.gradients)) {
      const lossAt = async (x: Float32Array): Promise<number> =>
        (await trainable.evaluate({ ...batch, routing: routingOf({ ...weights, [name]: x }) }, {})).crossEntropy;
      const slope = await slopeError(lossAt, weights[name] as Float32Array, await floats(device, tensor), 3e-3);
      assert.ok(worst.within('slopes by weights of gates', slope, 5e-3), `${kind}, ${name}: ${slope}`);
    }
    gate.dispose();
  }
  const moved = [...(await gradientsOf(trainable)).values()];
  assert.ok(moved.length > 0 && moved.every((own) => own.some((x) => x !== 0)), 'experts get theirs in the same step');
  trainable.dispose();
  assert.is(device.stats().tensors, 0);
});

test('a gate alone learns from the loss of a model whose experts stay', async () => {
  const { trainable, batch, rows } = await made('llama-gqa', null, 0.3);
  const inputs = inputsOf(rows);
  const gate = new TrainableGate(device, { kind: 'hidden', hidden: HIDDEN, slots: EXPERTS + 1 }, 1);
  const optimiser = new AdamW(gate, { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0, clip: 1 });
  const curve: number[] = [];
  for (let step = 0; step < 30; step++) {
    for (const { gradient } of gate.parameters) device.fill(gradient, 0);
    curve.push((await softRoutingStep(trainable, gate, batch, inputs)).crossEntropy);
    optimiser.step(0.1, await optimiser.norm());
  }
  assert.ok(curve.at(-1)! < 0.9 * curve[0]!, curve.map((x) => x.toFixed(3)).join(' '));
  optimiser.dispose();
  gate.dispose();
  trainable.dispose();
  assert.is(device.stats().tensors, 0);
});

test('what does not fit is refused before the model runs', async () => {
  const { trainable, batch, rows } = await made('llama-gqa');
  const gate = randomised('both');
  const inputs = inputsOf(rows);
  const routing = new Float32Array(rows * EXPERTS);
  await rejects('E_ARGUMENT', () => softRoutingStep(trainable, gate, { ...batch, routing }, inputs));
  for (const input of GATE_INPUTS.both) {
    const { [input]: _, ...others } = inputs;
    await rejects('E_ARGUMENT', () => softRoutingStep(trainable, gate, batch, others));
  }
  await rejects('E_ARGUMENT', () => softRoutingStep(trainable, gate, batch, inputsOf(rows + 1)));
  for (const wrong of [{ temperature: 0 }, { strength: 0 }, { heat: 1 } as object]) {
    await rejects('E_ARGUMENT', () => softRoutingStep(trainable, gate, batch, inputs, {}, wrong));
  }
  const signal = AbortSignal.abort();
  await rejects('E_ABORTED', () => softRoutingStep(trainable, gate, batch, inputs, { signal }));
  gate.dispose();
  trainable.dispose();
});

test('nothing is left on the device', () => {
  assert.is(device.stats().tensors, 0, device.liveTensors().join('\n'));
  device.close();
});

test.run();
