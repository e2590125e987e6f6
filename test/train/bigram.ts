/**
 * The smallest model that has all that a trainer deals with, on a real device: logits of the next token = head · embed[token] + bias, two
 * matrices and a vector.
 */
import type { Tensor } from '../../src/device/device.ts';
import type { TrainDevice } from '../../src/device/train-device.ts';
import { throwIfAborted } from '../../src/errors.ts';
import type { StepSource, TrainingStep } from '../../src/train/sources.ts';
import type { MicroBatch, Parameter, PassLosses, PassOptions, Trainable } from '../../src/train/trainable.ts';

export interface BigramWeights {
  readonly embed: ArrayLike<number>;
  readonly head: ArrayLike<number>;
  readonly bias: ArrayLike<number>;
}

export class Bigram implements Trainable {
  readonly device: TrainDevice;
  readonly parameters: readonly (Parameter & { gradient: Tensor | null })[];
  /** Passes, forward alone and both ways: what a test counts, or waits for. */
  passes = 0;
  onPass: (() => void | Promise<void>) | null = null;
  readonly #vocab: number;

  constructor(device: TrainDevice, vocab: number, width: number, weights: BigramWeights) {
    this.device = device;
    this.#vocab = vocab;
    const made = (name: keyof BigramWeights, shape: readonly number[], decay: boolean) => {
      const value = device.tensor('f32', shape);
      device.write(value, Float32Array.from(weights[name]));
      return { name, shape, value, gradient: null, packed: null, decay };
    };
    this.parameters = [
      made('embed', [vocab, width], true),
      made('head', [vocab, width], true),
      made('bias', [vocab], false),
    ];
  }

  train(wanted: (parameter: Parameter) => boolean): void {
    for (const parameter of this.parameters) {
      const is = wanted(parameter);
      if (is && parameter.gradient === null) parameter.gradient = this.device.tensor('f32', parameter.shape);
      if (!is) {
        parameter.gradient?.dispose();
        parameter.gradient = null;
      }
    }
  }

  step(batch: MicroBatch, options: PassOptions): Promise<PassLosses> {
    return this.#pass(batch, options, true);
  }

  evaluate(batch: MicroBatch, options: PassOptions): Promise<PassLosses> {
    return this.#pass(batch, options, false);
  }

  async #pass({ ids, targets, weights }: MicroBatch, { signal }: PassOptions, back: boolean): Promise<PassLosses> {
    await this.onPass?.();
    throwIfAborted(signal);
    this.passes++;
    const { device } = this;
    const [t, v] = [ids.length, this.#vocab];
    const [embed, head, bias] = this.parameters as [Own, Own, Own];
    const mark = device.mark();
    try {
      const inputs = this.#scratch([t, v], hot(ids, v));
      const hidden = this.#scratch([t, embed.shape[1]!]);
      const probabilities = this.#scratch([t, v]);
      device.matmul(inputs, embed.value, hidden);
      device.matmul(hidden, head.value, probabilities, { transposeB: true });
      device.addBias(bias.value, probabilities);
      device.softmax(probabilities);
      const p = (await device.read(probabilities)) as Float32Array;
      let crossEntropy = 0;
      for (const [i, target] of targets.entries()) {
        if (target >= 0) crossEntropy -= weights[i]! * Math.log(p[i * v + target]!);
      }
      if (back) {
        // a row's weight times probabilities less the target
        const rowWeights = this.#scratch([t, t]);
        const diagonal = new Float32Array(t * t);
        for (const [i, target] of targets.entries()) diagonal[i * t + i] = target < 0 ? 0 : weights[i]!;
        device.write(rowWeights, diagonal);
        device.axpy(-1, this.#scratch([t, v], hot(targets, v)), probabilities);
        const dLogits = this.#scratch([t, v]);
        device.matmul(rowWeights, probabilities, dLogits);
        if (head.gradient) device.matmul(dLogits, hidden, head.gradient, { transposeA: true, accumulate: true });
        if (bias.gradient) device.columnSum(dLogits, bias.gradient);
        if (embed.gradient) {
          const dHidden = this.#scratch([t, embed.shape[1]!]);
          device.matmul(dLogits, head.value, dHidden);
          device.matmul(inputs, dHidden, embed.gradient, { transposeA: true, accumulate: true });
        }
      }
      return { crossEntropy, balance: 0, z: 0, divergence: 0, hinge: 0, invariance: 0, distillation: 0, steering: 0 };
    } finally {
      device.reset(mark);
    }
  }

  #scratch(shape: readonly number[], data?: Float32Array): Tensor {
    const t = this.device.scratch('f32', shape);
    if (data) this.device.write(t, data);
    return t;
  }

  zeroGradients(): void {
    for (const { gradient } of this.parameters) if (gradient) this.device.fill(gradient, 0);
  }

  repack(): void {} // products read the masters themselves

  dispose(): void {
    for (const { value, gradient } of this.parameters) {
      value.dispose();
      gradient?.dispose();
    }
  }
}

type Own = Parameter & { gradient: Tensor | null };

function hot(ids: Int32Array, vocab: number): Float32Array {
  const rows = new Float32Array(ids.length * vocab);
  for (const [i, id] of ids.entries()) if (id >= 0) rows[i * vocab + id] = 1;
  return rows;
}

/** Tokens and what follows each, as batches of a step whose weights add up to 1. */
export function batchesOf(
  list: readonly { readonly ids: readonly number[]; readonly targets: readonly number[] }[],
): MicroBatch[] {
  const count = list.flatMap(({ targets }) => targets).filter((target) => target >= 0).length;
  return list.map(({ ids, targets }) => ({
    ids: Int32Array.from(ids),
    positions: Int32Array.from(ids, (_, i) => i),
    starts: new Int32Array(ids.length),
    targets: Int32Array.from(targets),
    weights: Float32Array.from(targets, (target) => (target < 0 ? 0 : 1 / count)),
  }));
}

/** Steps that are made of their number. */
export class ListedSteps implements StepSource {
  state = 0;
  readonly #batches: (step: number) => MicroBatch[];

  constructor(batches: (step: number) => MicroBatch[]) {
    this.#batches = batches;
  }

  async next(): Promise<TrainingStep> {
    const batches = this.#batches(this.state++);
    const tokens = batches.reduce((sum, { ids }) => sum + ids.length, 0);
    const targets = batches.flatMap(({ targets }) => [...targets]).filter((target) => target >= 0).length;
    return { batches, tokens, targets };
  }

  restore(state: unknown): void {
    this.state = state as number;
  }
}
