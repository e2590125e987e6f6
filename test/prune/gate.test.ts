/** Gates of pruning, each kind: their gradients, that they learn what they can, and that lanes change nothing. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  GATE_INPUTS,
  GATE_KINDS,
  type GateInputs,
  type GateKind,
  type GateShape,
  type GateWeightName,
  gateEntries,
} from '../../src/checkpoint/adapter/gate-kinds.ts';
import type { TrainDevice } from '../../src/device/train-device.ts';
import type { EspalierError } from '../../src/errors.ts';
import { NULL_SLOT } from '../../src/model/routed/gate.ts';
import { type GateExamples, gateAccuracy, TrainableGate, trainGate } from '../../src/prune/gate/train-gate.ts';
import { testNothingLeft, Worst } from '../device/devices.ts';
import { families, floats, sameBits, slopeError } from '../device/gradients.ts';
import { noise } from '../device/reference.ts';
import { readJson } from '../files.ts';
import { type GateNumbers, gateLogits } from '../model/gate-reference.ts';

interface Case {
  readonly kind: GateKind;
  readonly weights: Readonly<Record<GateWeightName, number[]>>;
  readonly loss: number;
  readonly logits: readonly number[];
  readonly gradients: Readonly<Record<GateWeightName, number[]>>;
}

interface Fixture {
  readonly hidden: number;
  readonly units: number;
  readonly slots: number;
  readonly rows: number;
  readonly mean: readonly number[];
  readonly now: readonly number[];
  readonly entropy: readonly number[];
  readonly cases: readonly Case[];
}

const worst = new Worst();
const all = await families();
const device = all[0]![0]!;
const fixture = (await readJson('test/fixtures/gates.json')) as Fixture;
const { rows } = fixture;
const inputs = {
  mean: Float32Array.from(fixture.mean),
  now: Float32Array.from(fixture.now),
  entropy: Float32Array.from(fixture.entropy),
};
const shapeOf = (kind: GateKind, hidden = fixture.hidden, units = fixture.units): GateShape => ({
  ...{ kind, hidden, units, slots: fixture.slots },
});
const slots = Int32Array.from({ length: rows }, (_, i) => i % fixture.slots);

/** With the weights of the fixture. */
function filled(on: TrainDevice, { kind, weights }: Case): TrainableGate {
  const gate = new TrainableGate(on, shapeOf(kind), 3);
  for (const [name, tensor] of gateEntries(gate.weights)) on.write(tensor, Float32Array.from(weights[name]));
  return gate;
}

/** The loss in f64, from the formula. */
function lossOf(kind: GateKind, weights: GateNumbers): number {
  const { hidden } = fixture;
  let sum = 0;
  for (let t = 0; t < rows; t++) {
    const own = (of: Float32Array) => of.subarray(t * hidden, (t + 1) * hidden);
    const at = { mean: own(inputs.mean), now: own(inputs.now), entropy: inputs.entropy[t]! };
    const logits = gateLogits(kind, weights, at);
    sum += Math.log(logits.reduce((x, z) => x + Math.exp(z), 0)) - logits[slots[t]!]!;
  }
  return sum / rows;
}

test('the fixture has every kind', () => {
  assert.equal(
    fixture.cases.map(({ kind }) => kind),
    [...GATE_KINDS],
  );
});

for (const one of fixture.cases) {
  const { kind } = one;
  test(`${kind}: loss and gradients are PyTorch's, and slopes of the formula`, async () => {
    const gate = filled(device, one);
    const weights: GateNumbers = {};
    for (const [name, tensor] of gateEntries(gate.weights)) weights[name] = await floats(device, tensor);
    const loss = await gate.step(inputs, slots);
    assert.ok(worst.within('loss of PyTorch', Math.abs(loss - one.loss) / one.loss, 1e-6));
    assert.ok(worst.within('loss of the formula', Math.abs(loss - lossOf(kind, weights)) / loss, 1e-6));
    for (const [i, x] of (await gate.logits(inputs, 0, rows)).entries()) {
      assert.ok(worst.within('logits of PyTorch', Math.abs(x - one.logits[i]!), 1e-5));
    }
    for (const [name, tensor] of gateEntries(gate.gradients)) {
      const gradient = await floats(device, tensor);
      const want = one.gradients[name];
      const far = Math.max(...gradient.map((x, i) => Math.abs(x - want[i]!)));
      assert.ok(worst.within('gradients of PyTorch', far / Math.hypot(...want), 1e-5), `${name}: ${far}`);
      const moved = async (x: Float32Array) => lossOf(kind, { ...weights, [name]: x });
      const slope = await slopeError(moved, weights[name] as Float32Array, gradient, 1e-3);
      assert.ok(worst.within('slopes', slope, 1e-4), `${name}: ${slope}`);
    }
    gate.dispose();
    assert.is(device.stats().tensors, 0);
  });
}

const WIDTH = 12;

/** Two domains and the rest, told apart by directions of the mean and of the state; entropies tell them apart as well as can be. */
function examples(count: number, kind: GateKind): GateExamples {
  const next = noise(5);
  const [mean, now] = [new Float32Array(count * WIDTH), new Float32Array(count * WIDTH)];
  const entropy = new Float32Array(count);
  const own = new Int32Array(count);
  for (let t = 0; t < count; t++) {
    const slot = t % 10 === 0 ? 1 : t % 10 === 1 ? 2 : NULL_SLOT;
    own[t] = slot;
    for (let i = 0; i < WIDTH; i++) {
      mean[t * WIDTH + i] = 0.3 * next() + (slot > 0 && i === slot ? 1.5 : 0);
      now[t * WIDTH + i] = kind === 'global' ? next() : 0.3 * next() + (slot > 0 && i === slot ? 1.5 : 0);
    }
    entropy[t] = 0.1 + slot;
  }
  const has: Required<GateInputs<Float32Array>> = { mean, now, entropy };
  return { ...Object.fromEntries(GATE_INPUTS[kind].map((input) => [input, has[input]])), slots: own };
}

for (const kind of ['global', 'hidden', 'both'] as const) {
  test(`${kind}: it learns to tell two domains from the rest`, async () => {
    const gate = new TrainableGate(device, shapeOf(kind, WIDTH, 10), 1);
    const data = examples(600, kind);
    // logits are zero at first: the first slot is the first of equals
    assert.equal(await gateAccuracy(gate, data), { none: 1, experts: 0 });
    const loss = await trainGate(gate, data, { steps: 150, rows: 64, rate: kind === 'global' ? 1e-2 : 1e-1, seed: 4 });
    const after = await gateAccuracy(gate, data);
    assert.ok(loss < 0.1, `${loss}`);
    assert.ok(after.none > 0.98 && after.experts > 0.98, JSON.stringify(after));
    gate.dispose();
    assert.is(device.stats().tensors, 0);
  });
}

test('literal: entropies that tell everything apart teach it nothing, since slots stand in one order for every token', async () => {
  const gate = new TrainableGate(device, shapeOf('literal'), 1);
  const data = examples(600, 'literal');
  await trainGate(gate, data, { steps: 300, rows: 64, rate: 1e-1, seed: 4 });
  const count = data.slots.length;
  const logits = await gate.logits(data, 0, count);
  const orders = new Set<string>();
  for (let t = 0; t < count; t++) {
    const row = logits.subarray(t * fixture.slots, (t + 1) * fixture.slots);
    orders.add([...row.keys()].sort((a, b) => row[b]! - row[a]!).join());
  }
  assert.is(orders.size, 1, [...orders].join(' '));
  assert.ok(new Set(logits).size >= 3, 'logits do differ');
  const { none, experts } = await gateAccuracy(gate, data);
  assert.ok((none === 1 && experts === 0) || (none === 0 && experts === 0.5), JSON.stringify({ none, experts }));
  gate.dispose();
  // the same entropies beside anything else do tell them apart
  const other = new TrainableGate(device, shapeOf('both', WIDTH), 1);
  const flat = { ...examples(600, 'both'), now: new Float32Array(600 * WIDTH) };
  await trainGate(other, flat, { steps: 600, rows: 64, rate: 3e-1, seed: 4 });
  const after = await gateAccuracy(other, flat);
  assert.ok(after.none > 0.98 && after.experts > 0.98, JSON.stringify(after));
  other.dispose();
});

for (const kind of GATE_KINDS) {
  test(`${kind}: any number of lanes trains it to the same bits`, async () => {
    const data = examples(60, kind);
    await sameBits(all, async (on) => {
      const gate = new TrainableGate(on, shapeOf(kind, WIDTH), 1);
      await trainGate(gate, data, { steps: 3, rows: 40, rate: 1e-2, seed: 4 });
      const list: Float32Array[] = [];
      for (const [, tensor] of gateEntries(gate.weights)) list.push(await floats(on, tensor));
      gate.dispose();
      return list;
    });
  });
}

test('a pass is the same with rows beside it as without', async () => {
  for (const one of fixture.cases) {
    const gate = filled(device, one);
    const whole = await gate.logits(inputs, 0, rows);
    for (let t = 0; t < rows; t++) {
      const alone = await gate.logits(inputs, t, 1);
      const part = whole.subarray(t * fixture.slots, (t + 1) * fixture.slots);
      for (const [i, x] of alone.entries()) assert.ok(worst.within('alone', Math.abs(x - part[i]!), 1e-5));
    }
    gate.dispose();
  }
});

test('a side without examples, and states that are no numbers', async () => {
  const gate = new TrainableGate(device, shapeOf('global', WIDTH), 1);
  const data = examples(20, 'global');
  const codes: string[] = [];
  const settings = { steps: 2, rows: 8, rate: 1e-2, seed: 4 };
  for (const broken of [
    { ...data, slots: data.slots.map(() => 0) },
    { ...data, slots: data.slots.map(() => 1) },
    { ...data, now: data.now!.map(() => Number.NaN) },
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
  // of another kind, or of another model
  const { mean: _, ...narrow } = data;
  for (const other of [examples(20, 'both'), narrow, { ...data, now: new Float32Array(20 * (WIDTH + 1)) }]) {
    await trainGate(gate, other, settings).catch((error: EspalierError) => codes.push(error.code));
    await gateAccuracy(gate, other).catch((error: EspalierError) => codes.push(error.code));
  }
  assert.equal(codes.slice(-6), new Array(6).fill('E_ARGUMENT'));
  gate.dispose();
  assert.is(device.stats().tensors, 0);
});

testNothingLeft(
  all.flat().map((own, i) => ({ name: `device ${i}`, device: own })),
  worst,
);
test.run();
