import {
  GATE_INPUTS,
  type GateInput,
  type GateInputs,
  type GateOf,
  type GateShape,
  gateEntries,
  gateFrom,
  gateWeightShapes,
} from '../../checkpoint/adapter/gate-kinds.ts';
import { STAT, STAT_NUMBERS, type Tensor } from '../../device/device.ts';
import { exclusive } from '../../device/exclusive.ts';
import type { TrainDevice } from '../../device/train-device.ts';
import { EspalierError, throwIfAborted } from '../../errors.ts';
import { statsBuffers } from '../../model/logit-stats.ts';
import { type GateWeights, gateBackward, gateForward, NULL_SLOT } from '../../model/routed/gate.ts';
import { checked, filled } from '../../options/check.ts';
import { callback, defaulting, type Schema, signal, whole } from '../../options/rules.ts';
import { uniform } from '../../random.ts';
import { Pace } from '../../runtime/host/yielding.ts';
import { AdamW } from '../../train/optimiser.ts';
import { rateRule } from '../../train/schedule.ts';

/** What a gate learns from, a row a token: `mean` and `now` [n, hidden] and `entropy` [n], as far as its kind reads them, and the slot that is right. */
export interface GateExamples extends GateInputs<Float32Array> {
  /** [n] */
  readonly slots: Int32Array;
}

export interface GateOptions {
  /** Default 2000. */
  readonly steps?: number;
  /** Rows of a step: half with the null slot, half with the others, drawn with replacement. Default 512. */
  readonly rows?: number;
  /** Learning rate of the first step. Default 1e-3. */
  readonly rate?: number;
  /** Of the draws of rows. Default 0. */
  readonly seed?: number;
  readonly signal?: AbortSignal | undefined;
  /** Steps done and in all, and the mean loss of the last, in nats. */
  readonly onStep?: ((step: number, steps: number, loss: number) => void) | undefined;
}

export const gateOptions = {
  steps: defaulting(whole(1), 2000),
  rows: defaulting(whole(2), 512),
  rate: defaulting(rateRule, 1e-3),
  seed: defaulting(whole(0), 0),
  signal,
  onStep: callback,
} as const satisfies Schema<GateOptions>;

/** Tells these draws from others with the same seed. */
const STREAM = { weights: 131, rows: 132 } as const;

/**
 * A gate that can be trained. All begins at zero, so that every slot is as likely, but for the first of two layers: uniform in ±1/√(inputs).
 */
export class TrainableGate {
  readonly device: TrainDevice;
  readonly shape: GateShape;
  readonly weights: GateWeights;
  readonly gradients: GateWeights;
  readonly parameters;
  readonly #made: Tensor[] = [];

  /** @throws E_OUT_OF_MEMORY, and nothing is left allocated */
  constructor(device: TrainDevice, shape: GateShape, seed: number) {
    this.device = device;
    this.shape = shape;
    const shapes = new Map(gateEntries(gateWeightShapes(shape)));
    const make = (): GateWeights =>
      gateFrom(shape.kind, (name) => {
        const tensor = device.tensor('f32', shapes.get(name)!);
        this.#made.push(tensor);
        return tensor;
      });
    try {
      this.weights = make();
      this.gradients = make();
    } catch (error) {
      this.dispose();
      throw error;
    }
    if (this.weights.kind === 'global' && shape.kind === 'global') {
      const bound = 1 / Math.sqrt(2 * shape.hidden);
      const count = shape.units * shape.hidden;
      for (const [i, tensor] of [this.weights.mean, this.weights.now].entries()) {
        const draw = (_: unknown, at: number) => bound * (2 * uniform(seed, i * count + at, STREAM.weights) - 1);
        device.write(tensor, Float32Array.from({ length: count }, draw));
      }
    }
    const gradients = new Map(gateEntries(this.gradients));
    this.parameters = gateEntries(this.weights).map(([name, value]) => ({
      name: `gate.${name}`,
      shape: shapes.get(name)!,
      value,
      gradient: gradients.get(name)!,
      packed: null,
      decay: false,
    }));
  }

  /** Products read the weights as they stand. */
  repack(): void {}

  /**
   * Both ways through some rows: adds to the gradients of the mean cross-entropy.
   * @param inputs [T, …] as `GateExamples` has them
   * @param slots [T]
   * @returns it, in nats
   */
  async step(inputs: GateInputs<Float32Array>, slots: Int32Array): Promise<number> {
    const { device, shape } = this;
    const t = slots.length;
    const mark = device.mark();
    try {
      const read = this.#upload(inputs, 0, t);
      const logits = device.scratch('f32', [t, shape.slots]);
      const pass = gateForward(device, this.weights, read, logits);
      const targets = device.scratch('i32', [t, 1]);
      device.write(targets, slots);
      const weights = device.scratch('f32', [t, 1]);
      device.fill(weights, 1 / t);
      const { numbers, places } = statsBuffers(device, t);
      device.logitStats(logits, targets, 1, numbers, places);
      device.crossEntropyBackward(logits, numbers, targets, weights, logits);
      gateBackward(device, this.weights, pass, read, logits, this.gradients);
      return meanLoss((await device.read(numbers)) as Float32Array, t);
    } finally {
      device.reset(mark);
    }
  }

  /** Logits of some rows, [count, slots]. */
  async logits(inputs: GateInputs<Float32Array>, first: number, count: number): Promise<Float32Array> {
    const { device, shape } = this;
    const mark = device.mark();
    try {
      const logits = device.scratch('f32', [count, shape.slots]);
      gateForward(device, this.weights, this.#upload(inputs, first, count), logits);
      return (await device.read(logits)) as Float32Array;
    } finally {
      device.reset(mark);
    }
  }

  /**
   * Both ways through some rows by a gradient that is told for their logits: adds to the gradients of the weights.
   * @param gradientOf what is differentiated, by the logits [count, slots]
   */
  async backward(
    inputs: GateInputs<Float32Array>,
    count: number,
    gradientOf: (logits: Float32Array) => Float32Array,
  ): Promise<void> {
    const { device, shape } = this;
    const mark = device.mark();
    try {
      const read = this.#upload(inputs, 0, count);
      const logits = device.scratch('f32', [count, shape.slots]);
      const pass = gateForward(device, this.weights, read, logits);
      device.write(logits, gradientOf((await device.read(logits)) as Float32Array));
      gateBackward(device, this.weights, pass, read, logits, this.gradients);
    } finally {
      device.reset(mark);
    }
  }

  #upload(inputs: GateInputs<Float32Array>, first: number, count: number): GateInputs<Tensor> {
    const read: { [I in GateInput]?: Tensor } = {};
    for (const [input, width] of inputWidths(this.shape)) {
      read[input] = this.device.scratch('f32', [count, width]);
      this.device.write(read[input], inputs[input]!.subarray(first * width, (first + count) * width));
    }
    return read;
  }

  /** Its weights as numbers, for `routedFiles`. */
  async values(): Promise<GateOf<Float32Array>> {
    const names = gateEntries(this.weights).map(([name]) => name);
    const read = (await this.device.read(gateEntries(this.weights).map(([, tensor]) => tensor))) as Float32Array[];
    return gateFrom(this.shape.kind, (name) => read[names.indexOf(name)]!);
  }

  dispose(): void {
    for (const tensor of this.#made) tensor.dispose();
  }
}

/** Numbers of each input of a gate, a row. */
function inputWidths(shape: GateShape): readonly (readonly [GateInput, number])[] {
  const hidden = shape.kind === 'literal' ? 0 : shape.hidden;
  const widths: Readonly<Record<GateInput, number>> = { mean: hidden, now: hidden, entropy: 1 };
  return GATE_INPUTS[shape.kind].map((input) => [input, widths[input]] as const);
}

/** @throws E_ARGUMENT for examples that another kind of gate or another model was to learn from */
export function checkInputs(shape: GateShape, inputs: GateInputs<Float32Array>, count: number): void {
  for (const [input, width] of inputWidths(shape)) {
    if (inputs[input]?.length === width * count) continue;
    throw new EspalierError(
      'E_ARGUMENT',
      `A gate of the kind ${shape.kind} reads ${input} of ${width} numbers a position, and there are no such.`,
      `Make them with gateExamples(…, { kind: '${shape.kind}' }) of this model.`,
    );
  }
}

/** How often a gate is right, of the examples with the null slot and of the others. */
export interface GateAccuracy {
  readonly none: number;
  readonly experts: number;
}

/**
 * Trains a gate by cross-entropy (AdamW without decay, a rate that falls to 0 along a line). Half of each step's rows come from either side,
 * since what is to be forgotten is a small part of all there is.
 * @returns the mean loss of the last tenth of the steps, in nats
 * @throws E_ARGUMENT for options, and examples of another kind; E_DATA_INVALID where a side has no example, E_DIVERGED, E_ABORTED, E_OUT_OF_MEMORY
 */
export async function trainGate(
  gate: TrainableGate,
  examples: GateExamples,
  options: GateOptions = {},
): Promise<number> {
  const { device, shape } = gate;
  const given = filled(gateOptions, checked<GateOptions>(gateOptions, options, 'trainGate'));
  const { steps, rows, rate, seed, signal, onStep } = given;
  checkInputs(shape, examples, examples.slots.length);
  const sides = sidesOf(examples.slots);
  const optimiser = new AdamW(gate, { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0, clip: 1 });
  const pace = new Pace();
  const widths = inputWidths(shape);
  const some: { [I in GateInput]?: Float32Array } = {};
  for (const [input, width] of widths) some[input] = new Float32Array(rows * width);
  const slots = new Int32Array(rows);
  const last = Math.max(1, Math.floor(steps / 10));
  let sum = 0;
  try {
    for (let step = 0; step < steps; step++) {
      throwIfAborted(signal);
      for (let i = 0; i < rows; i++) {
        const side = sides[i & 1]!;
        const row = side[Math.floor(uniform(seed, step * rows + i, STREAM.rows) * side.length)]!;
        for (const [input, width] of widths) copyRow(examples[input]!, row, some[input]!, i, width);
        slots[i] = examples.slots[row]!;
      }
      const loss = await exclusive(device, async () => {
        for (const { gradient } of gate.parameters) device.fill(gradient, 0);
        const own = await gate.step(some, slots);
        const norm = await optimiser.norm();
        if (!Number.isFinite(own) || !Number.isFinite(norm)) throw diverged(step, own);
        optimiser.step(rate * (1 - step / steps), norm);
        return own;
      });
      if (step >= steps - last) sum += loss;
      onStep?.(step + 1, steps, loss);
      await pace.breathe();
    }
  } finally {
    optimiser.dispose();
  }
  return sum / last;
}

/** @throws E_ARGUMENT for examples of another kind, E_ABORTED */
export async function gateAccuracy(
  gate: TrainableGate,
  examples: GateExamples,
  signal?: AbortSignal,
): Promise<GateAccuracy> {
  const { device, shape } = gate;
  checkInputs(shape, examples, examples.slots.length);
  const { slots } = examples;
  const most = 512;
  const right = { none: 0, experts: 0 };
  const count = { none: 0, experts: 0 };
  for (let first = 0; first < slots.length; first += most) {
    throwIfAborted(signal);
    const t = Math.min(most, slots.length - first);
    const chosen = await exclusive(device, () => gate.logits(examples, first, t));
    for (let i = 0; i < t; i++) {
      const slot = slots[first + i]!;
      const side = slot === NULL_SLOT ? 'none' : 'experts';
      count[side]++;
      if (largest(chosen.subarray(i * shape.slots, (i + 1) * shape.slots)) === slot) right[side]++;
    }
  }
  return { none: right.none / Math.max(1, count.none), experts: right.experts / Math.max(1, count.experts) };
}

/** Rows with the null slot, and the others. @throws E_DATA_INVALID */
function sidesOf(slots: Int32Array): readonly [readonly number[], readonly number[]] {
  const none: number[] = [];
  const experts: number[] = [];
  for (const [row, slot] of slots.entries()) (slot === NULL_SLOT ? none : experts).push(row);
  if (none.length > 0 && experts.length > 0) return [none, experts];
  throw new EspalierError(
    'E_DATA_INVALID',
    `Of ${slots.length} positions ${experts.length} are to be forgotten: a gate has nothing to tell apart.`,
    'Give texts to forget and texts to retain.',
  );
}

function copyRow(from: Float32Array, row: number, to: Float32Array, at: number, width: number): void {
  to.set(from.subarray(row * width, (row + 1) * width), at * width);
}

function largest(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i;
  return best;
}

function meanLoss(numbers: Float32Array, rows: number): number {
  let sum = 0;
  for (let i = 0; i < rows; i++) sum -= numbers[i * STAT_NUMBERS + STAT.targetLogProbability]!;
  return sum / rows;
}

function diverged(step: number, loss: number): EspalierError {
  return new EspalierError(
    'E_DIVERGED',
    `Training of the gate diverged in step ${step + 1}: its loss is ${loss}.`,
    'Give it a lower rate, and look whether the model gives finite hidden states.',
  );
}
