import { EMBEDDING } from '../../checkpoint/layer-tensors.ts';
import type { ModelConfig } from '../../checkpoint/types.ts';
import { orderOf } from '../../datasets/training/stream.ts';
import type { TrainingSequence } from '../../datasets/training/types.ts';
import { EspalierError, throwIfAborted } from '../../errors.ts';
import { uniform } from '../../random.ts';
import { Pace } from '../../runtime/host/yielding.ts';
import { AdamW } from '../../train/optimiser.ts';
import type { Parameter, Trainable } from '../../train/trainable.ts';
import { diverged } from '../../train/trainer.ts';
import { type SequenceSums, sequenceSums } from '../objective/sequences.ts';
import { type UnlearningOptions, type UnlearningSettings, unlearningSettings } from './unlearn-options.ts';
import { type AskedSide, type ForgetExample, forgetSide, measureSequences, retainSide } from './unlearn-steps.ts';

/** What is trained: a `DecoderTrainable`, all of its weights or factors of an adapter. UNDIAL and RMU need one with a reference. */
export interface UnlearnedModel extends Trainable {
  readonly config: Pick<ModelConfig, 'nLayers' | 'hiddenSize'>;
  readonly hasReference: boolean;
}

export interface UnlearningExamples {
  readonly forget: readonly TrainingSequence[];
  readonly retain: readonly TrainingSequence[];
  /** Of each sequence to be forgotten its question with other answers, as `otherAnswers` makes them; one of them is drawn each time. For IdkDPO. */
  readonly idk?: readonly (readonly TrainingSequence[])[];
}

/** Where a training stands. */
export interface UnlearningLook {
  /** Epochs that are done. */
  readonly epoch: number;
  /**
   * The mean probability of answers to be forgotten, e^−(mean of their tokens' losses), of those that were seen last, as many as lie between two
   * looks, each before its step.
   */
  readonly answer: number;
}

export interface UnlearningHooks {
  /** Sequences whose losses by the model as it was are known, and in all. */
  readonly onReference?: ((done: number, total: number) => void) | undefined;
  /** Both terms of the loss, with their factors; 0 for what the method has not. */
  readonly onStep?:
    | ((told: {
        readonly step: number;
        readonly steps: number;
        readonly forget: number;
        readonly retain: number;
        readonly gradientNorm: number;
      }) => void)
    | undefined;
  /** Several times an epoch, and at its end. Weights may be read here, and where it says `end` no step comes behind it. */
  readonly onLook?: ((look: UnlearningLook) => Promise<'end' | undefined> | 'end' | undefined) | undefined;
}

/** Tells draws of one seed apart. */
const STREAM = { retain: 145, idk: 146, direction: 147 } as const;

/**
 * Unlearning by the losses of other methods, for comparison under one trainer: a step takes some examples to forget and as many to retain, drawn
 * at random, and the sum of both losses; AdamW, its rate rising from 0 in the first epoch and staying. What a method compares with, sums by
 * the model as it was, is computed once before the first step, so that it begins where the model stands when it is run.
 */
export class Unlearning {
  readonly #trainable: UnlearnedModel;
  readonly #examples: UnlearningExamples;
  readonly #settings: UnlearningSettings;
  readonly #hooks: UnlearningHooks;
  readonly #trains: (name: string) => boolean;
  readonly #optimiser: AdamW;
  readonly #direction: Float32Array;
  readonly #pace = new Pace();
  readonly #reference = new Map<TrainingSequence, number>();
  /** Probabilities of answers to be forgotten, the last ones. */
  readonly #seen: number[] = [];

  /**
   * @throws E_ARGUMENT for options, a layer that the model has not, a sequence longer than a pass, nothing that is trained, and a method that needs a
   *   reference without one; E_DATA_INVALID for nothing to forget, nothing to retain, and IdkDPO without an "I don't know" for each answer
   */
  constructor(
    trainable: UnlearnedModel,
    examples: UnlearningExamples,
    options: UnlearningOptions,
    hooks: UnlearningHooks = {},
  ) {
    const settings = unlearningSettings(options);
    const { of, clip, weightDecay, seed } = settings;
    const { nLayers, hiddenSize } = trainable.config;
    checkExamples(examples, settings);
    if (of.method === 'rmu' && of.layer >= nLayers) {
      refuse(`rmu looks at layer ${of.layer}, and the model has ${nLayers}.`, 'Give a `layer`, counted from 0.');
    }
    if ((of.method === 'rmu' || of.method === 'undial') && !trainable.hasReference) {
      refuse(`${of.method} needs the model as it was.`, 'Load the trainable with a `reference`.');
    }
    this.#trains = settings.trains ?? ((name) => of.method !== 'rmu' || isWithin(name, of.layer));
    this.#trainable = trainable;
    if (this.parameters.length === 0) {
      refuse('Nothing of the model is trained.', 'Let `trains` say true of some parameters.');
    }
    this.#examples = examples;
    this.#settings = settings;
    this.#hooks = hooks;
    this.#direction = of.method === 'rmu' ? directionOf(hiddenSize, of.coefficient, seed) : new Float32Array(0);
    this.#optimiser = new AdamW(trainable, { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay, clip });
  }

  /** Those that are trained. */
  get parameters(): readonly Parameter[] {
    return this.#trainable.parameters.filter(({ name }) => this.#trains(name));
  }

  /**
   * @throws E_DIVERGED for NaN or infinity in a loss or a gradient, before anything is changed by it; E_ABORTED between batches and steps,
   *   E_OUT_OF_MEMORY, what hooks throw
   */
  async run(signal?: AbortSignal): Promise<void> {
    const { epochs, looks, batch } = this.#settings;
    const steps = Math.ceil(this.#examples.forget.length / batch);
    await this.#measureReference(signal);
    this.#trainable.train(({ name }) => this.#trains(name));
    try {
      for (let at = 0; at < epochs * steps; at++) {
        const [epoch, i] = [Math.floor(at / steps), at % steps];
        const told = await this.#step(this.#forgotten(epoch, i), at, Math.min(1, (at + 1) / steps), signal);
        this.#hooks.onStep?.({ step: at + 1, steps: epochs * steps, ...told });
        const [before, now] = [i, i + 1].map((done) => Math.floor((done * looks) / steps));
        if (now === before) continue;
        const look = { epoch: epoch + (i + 1) / steps, answer: meanOf(this.#seen) };
        if ((await this.#hooks.onLook?.(look)) === 'end') return;
      }
    } finally {
      this.#trainable.train(() => false);
    }
  }

  dispose(): void {
    this.#optimiser.dispose();
  }

  /** Step i of an epoch: what it forgets, each with an "I don't know" where the method wants one. */
  #forgotten(epoch: number, i: number): ForgetExample[] {
    const { batch, seed, of } = this.#settings;
    const { forget, idk } = this.#examples;
    const order = orderOf(Uint32Array.from(forget.keys()), seed, epoch);
    return Array.from(order.subarray(i * batch, (i + 1) * batch), (index) => {
      const others = of.method === 'idk-dpo' ? idk![index]! : [];
      const draw = uniform(seed, epoch * forget.length + index, STREAM.idk);
      return { sequence: forget[index]!, idk: others[Math.floor(draw * others.length)] ?? null };
    });
  }

  /** Sums of all that a step will compare with, by the model as it stands. */
  async #measureReference(signal: AbortSignal | undefined): Promise<void> {
    const { of, epochs, batch, rows } = this.#settings;
    this.#reference.clear();
    if (of.method !== 'npo' && of.method !== 'idk-dpo') return;
    const wanted = new Set<TrainingSequence>(this.#examples.forget);
    const steps = Math.ceil(this.#examples.forget.length / batch);
    for (let at = 0; at < epochs * steps; at++) {
      for (const { idk } of this.#forgotten(Math.floor(at / steps), at % steps)) if (idk) wanted.add(idk);
    }
    const all = [...wanted];
    for (let first = 0; first < all.length; first += batch) {
      throwIfAborted(signal);
      const some = all.slice(first, first + batch);
      const { sums } = await measureSequences(some, { trainable: this.#trainable, rows, signal });
      for (const [i, sequence] of some.entries()) this.#reference.set(sequence, sums[i]!);
      this.#hooks.onReference?.(first + some.length, all.length);
      await this.#pace.breathe();
    }
  }

  async #step(
    examples: readonly ForgetExample[],
    at: number,
    warmth: number,
    signal: AbortSignal | undefined,
  ): Promise<{ readonly forget: number; readonly retain: number; readonly gradientNorm: number }> {
    const { batch, rows, rate, of, seed } = this.#settings;
    const trainable = this.#trainable;
    throwIfAborted(signal);
    trainable.zeroGradients();
    const [reference, direction, isTold] = [this.#reference, this.#direction, this.#hooks.onLook !== undefined];
    const side = await forgetSide(of, examples, { trainable, rows, reference, direction, isTold, signal });
    if (side.answers) this.#see(side.answers);
    const isSeen = side.answers !== null || of.method === 'rmu';
    const forget = await this.#add(side, signal, isSeen ? undefined : (answers) => this.#see(answers));
    let retain = 0;
    if (of.retain > 0) {
      const { retain: all } = this.#examples;
      const kept = examples.map((_, i) => all[Math.floor(uniform(seed, at * batch + i, STREAM.retain) * all.length)]!);
      retain = await this.#add(retainSide(of, kept, rows), signal);
    }
    const gradientNorm = await this.#optimiser.norm();
    if (![gradientNorm, forget, retain].every(Number.isFinite)) {
      throw diverged(
        `Unlearning diverged: its losses are ${forget} and ${retain}, its gradient's norm ${gradientNorm}.`,
        null,
      );
    }
    throwIfAborted(signal);
    this.#optimiser.step(rate * warmth, gradientNorm);
    await this.#pace.breathe();
    return { forget, retain, gradientNorm };
  }

  /** Adds the gradients of one side. @param tell sums of each batch, before the step. @returns its term of the loss */
  async #add(
    { batches, loss }: AskedSide,
    signal: AbortSignal | undefined,
    tell?: (answers: SequenceSums) => void,
  ): Promise<number> {
    let sum = 0;
    for (const batch of batches) {
      const losses = await this.#trainable.step(batch, {
        signal,
        onRows: tell && ((nll) => tell(sequenceSums(batch, nll))),
      });
      if (typeof loss === 'string') sum += losses[loss];
      await this.#pace.breathe();
    }
    return typeof loss === 'string' ? sum : loss;
  }

  #see({ sums, tokens }: SequenceSums): void {
    const most = Math.ceil(this.#examples.forget.length / this.#settings.looks);
    for (const [i, sum] of sums.entries()) this.#seen.push(Math.exp(-sum / tokens[i]!));
    this.#seen.splice(0, Math.max(0, this.#seen.length - most));
  }
}

function checkExamples({ forget, retain, idk }: UnlearningExamples, { of, rows }: UnlearningSettings): void {
  const invalid = (what: string, hint: string): never => {
    throw new EspalierError('E_DATA_INVALID', what, hint);
  };
  if (forget.length === 0) invalid('There is nothing to forget.', 'Give examples.');
  if (of.retain > 0 && retain.length === 0) invalid('There is nothing to retain.', 'Give examples, or `retention: 0`.');
  if (of.method === 'idk-dpo' && (idk?.length !== forget.length || idk.some((list) => list.length === 0))) {
    invalid('idk-dpo wants other answers for each example to forget.', 'Give `idk`, as `otherAnswers` makes them.');
  }
  const long = [...forget, ...retain, ...(idk ?? []).flat()].find(({ ids }) => ids.length - 1 > rows);
  if (long) refuse(`A sequence has ${long.ids.length - 1} tokens, and a pass ${rows} rows.`, 'Give more `rows`.');
}

/** Whether a weight, or a factor of an adapter on it, acts before the output of a layer. */
function isWithin(name: string, layer: number): boolean {
  const [, of] = /(?:^|\.)layers\.(\d+)\./.exec(name) ?? [];
  return of === undefined ? name === EMBEDDING : Number(of) <= layer;
}

/** c · u / |u| with u uniform in [0, 1). */
function directionOf(size: number, length: number, seed: number): Float32Array {
  const drawn = Float64Array.from({ length: size }, (_, i) => uniform(seed, i, STREAM.direction));
  const norm = Math.hypot(...drawn);
  return Float32Array.from(drawn, (x) => (length * x) / norm);
}

const meanOf = (list: readonly number[]): number => list.reduce((sum, one) => sum + one, 0) / list.length;

function refuse(what: string, hint: string): never {
  throw new EspalierError('E_ARGUMENT', what, hint);
}
