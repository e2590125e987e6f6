/** The gate of pruning: its gradients, that it learns, and that lanes change nothing. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { GATE_WEIGHTS, type GateShape } from '../../src/checkpoint/adapter/routing.ts';
import type { Tensor } from '../../src/device/device.ts';
import type { WasmTrainDevice } from '../../src/device/wasm/wasm-train-device.ts';
import type { EspalierError } from '../../src/errors.ts';
import { gateForward, NULL_SLOT } from '../../src/model/routed/gate.ts';
import { type GateExamples, gateAccuracy, TrainableGate, trainGate } from '../../src/prune/gate/train-gate.ts';
import { testNothingLeft, Worst } from '../device/devices.ts';
import { families, floats, sameBits, slopeError } from '../device/gradients.ts';
import { noise } from '../device/reference.ts';

const worst = new Worst();
const all = await families();
const device = all[0]![0]!;
const shape: GateShape = { hidden: 12, units: 10, slots: 3 };
const draws = (seed: number, count: number, size = 1): Float32Array => {
  const next = noise(seed);
  return Float32Array.from({ length: count }, () => size * next());
};

/** Weights that are nowhere zero. */
function filled(on: WasmTrainDevice, seed: number): TrainableGate {
  const gate = new TrainableGate(on, shape, 3);
  for (const [i, name] of GATE_WEIGHTS.entries()) {
    const tensor = gate.weights[name];
    on.write(
      tensor,
      draws(
        seed + i,
        tensor.shape.reduce((a, b) => a * b),
      ),
    );
  }
  return gate;
}

const rows = 7;
const mean = draws(11, rows * shape.hidden);
const now = draws(12, rows * shape.hidden);
const slots = Int32Array.from({ length: rows }, (_, i) => i % shape.slots);

/** The loss in f64, from the formula. */
function lossOf(weights: Readonly<Record<string, Float32Array>>): number {
  const { hidden, units, slots: count } = shape;
  let sum = 0;
  for (let t = 0; t < rows; t++) {
    const active = Array.from({ length: units }, (_, u) => {
      let x = weights['bias']![u]!;
      for (let i = 0; i < hidden; i++) {
        x += weights['mean']![u * hidden + i]! * mean[t * hidden + i]!;
        x += weights['now']![u * hidden + i]! * now[t * hidden + i]!;
      }
      return x / (1 + Math.exp(-x));
    });
    const logits = Array.from({ length: count }, (_, s) =>
      active.reduce((x, a, u) => x + a * weights['out']![s * units + u]!, weights['outBias']![s]!),
    );
    sum += Math.log(logits.reduce((x, z) => x + Math.exp(z), 0)) - logits[slots[t]!]!;
  }
  return sum / rows;
}

test('the loss is that of the formula, and gradients are its slopes', async () => {
  const gate = filled(device, 21);
  const weights = Object.fromEntries(
    await Promise.all(GATE_WEIGHTS.map(async (name) => [name, await floats(device, gate.weights[name])] as const)),
  );
  const loss = await gate.step(mean, now, slots);
  assert.ok(worst.within('loss of the formula', Math.abs(loss - lossOf(weights)) / loss, 1e-6));
  for (const name of GATE_WEIGHTS) {
    const gradient = await floats(device, gate.gradients[name]);
    const slope = await slopeError(async (x) => lossOf({ ...weights, [name]: x }), weights[name]!, gradient, 1e-3);
    assert.ok(worst.within(`slope by ${name}`, slope, 1e-4), `${name}: ${slope}`);
  }
  gate.dispose();
  assert.is(device.stats().tensors, 0);
});

/** Two domains and the rest, told apart by directions of the mean. */
function examples(count: number): GateExamples {
  const next = noise(5);
  const at = { mean: new Float32Array(count * shape.hidden), now: new Float32Array(count * shape.hidden) };
  const own = new Int32Array(count);
  for (let t = 0; t < count; t++) {
    const slot = t % 10 === 0 ? 1 : t % 10 === 1 ? 2 : NULL_SLOT;
    own[t] = slot;
    for (let i = 0; i < shape.hidden; i++) {
      at.mean[t * shape.hidden + i] = 0.3 * next() + (slot > 0 && i === slot ? 1.5 : 0);
      at.now[t * shape.hidden + i] = next();
    }
  }
  return { ...at, slots: own };
}

test('it learns to tell two domains from the rest', async () => {
  const gate = new TrainableGate(device, shape, 1);
  const data = examples(600);
  const before = await gateAccuracy(gate, data);
  // logits are zero at first: the first slot is the first of equals
  assert.equal(before, { none: 1, experts: 0 });
  const loss = await trainGate(gate, data, { steps: 150, rows: 64, rate: 1e-2, seed: 4 });
  const after = await gateAccuracy(gate, data);
  assert.ok(loss < 0.1, `${loss}`);
  assert.ok(after.none > 0.98 && after.experts > 0.98, JSON.stringify(after));
  gate.dispose();
  assert.is(device.stats().tensors, 0);
});

test('any number of lanes trains it to the same bits', async () => {
  const data = examples(60);
  await sameBits(all, async (on) => {
    const gate = new TrainableGate(on, shape, 1);
    await trainGate(gate, data, { steps: 3, rows: 40, rate: 1e-2, seed: 4 });
    const list: Float32Array[] = [];
    for (const name of GATE_WEIGHTS) list.push(await floats(on, gate.weights[name]));
    gate.dispose();
    return list;
  });
});

test('a pass is the same with rows beside it as without', async () => {
  const gate = filled(device, 31);
  const logitsOf = async (from: number, count: number): Promise<Float32Array> => {
    const mark = device.mark();
    const upload = (data: Float32Array): Tensor => {
      const tensor = device.scratch('f32', [count, shape.hidden]);
      device.write(tensor, data.subarray(from * shape.hidden, (from + count) * shape.hidden));
      return tensor;
    };
    const logits = device.scratch('f32', [count, shape.slots]);
    gateForward(device, gate.weights, upload(mean), upload(now), logits);
    const got = await floats(device, logits);
    device.reset(mark);
    return got;
  };
  const whole = await logitsOf(0, rows);
  for (let t = 0; t < rows; t++) {
    const alone = await logitsOf(t, 1);
    const part = whole.subarray(t * shape.slots, (t + 1) * shape.slots);
    for (const [i, x] of alone.entries()) assert.ok(worst.within('alone', Math.abs(x - part[i]!), 1e-5));
  }
  gate.dispose();
});

test('a side without examples, and states that are no numbers', async () => {
  const gate = new TrainableGate(device, shape, 1);
  const data = examples(20);
  const codes: string[] = [];
  const settings = { steps: 2, rows: 8, rate: 1e-2, seed: 4 };
  for (const broken of [
    { ...data, slots: data.slots.map(() => 0) },
    { ...data, slots: data.slots.map(() => 1) },
    { ...data, now: data.now.map(() => Number.NaN) },
  ]) {
    await trainGate(gate, broken, settings).catch((error: EspalierError) => codes.push(error.code));
  }
  assert.equal(codes, ['E_DATA_INVALID', 'E_DATA_INVALID', 'E_DIVERGED']);
  const abort = AbortSignal.abort();
  await trainGate(gate, data, { ...settings, signal: abort }).catch((error: EspalierError) => codes.push(error.code));
  assert.is(codes.at(-1), 'E_ABORTED');
  await trainGate(gate, data, { rows: 1 }).catch((error: EspalierError) => codes.push(error.code));
  await trainGate(gate, data, { step: 3 } as object).catch((error: EspalierError) => codes.push(error.code));
  assert.equal(codes.slice(-2), ['E_ARGUMENT', 'E_ARGUMENT']);
  gate.dispose();
  assert.is(device.stats().tensors, 0);
});

testNothingLeft(
  all.flat().map((own, i) => ({ name: `device ${i}`, device: own })),
  worst,
);
test.run();
