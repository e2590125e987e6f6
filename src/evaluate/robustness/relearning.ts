import { orderOf } from '../../datasets/training/stream.ts';
import { throwIfAborted } from '../../errors.ts';
import type { Filled } from '../../options/check.ts';
import { Pace } from '../../runtime/host/yielding.ts';
import { AdamW } from '../../train/optimiser.ts';
import type { Trainable } from '../../train/trainable.ts';
import { diverged, lookedAt } from '../../train/trainer.ts';
import { mean } from '../statistics.ts';
import type { RelearnSettings, relearnSettings } from './options.ts';
import { type Division, probabilitiesOf, type RoutedSequence, routedBatches } from './sequences.ts';

/** One look at the probabilities of answers. */
export interface RelearnLook {
  /** Steps done before it. */
  readonly step: number;
  /** Mean probability of the answers that are trained on. */
  readonly trained: number;
  /** Of those that are not; null where all are. */
  readonly held: number | null;
  /** Cross-entropy of the steps since the last look, in nats a token; null before the first step. */
  readonly loss: number | null;
}

/** Probabilities at which a side counts as back. */
export interface RelearnTargets {
  readonly trained: number;
  readonly held: number | null;
}

export interface RelearningHooks {
  readonly signal: AbortSignal | undefined;
  readonly onStep: (done: number) => void;
  /** Sequences that were looked at, and in all. */
  readonly onLooking: (done: number, total: number) => void;
  readonly onLook: (look: RelearnLook) => void;
}

type Settings = Filled<RelearnSettings, typeof relearnSettings> & { readonly rows: number };

/**
 * Trains on what was to be forgotten until the mean probability of answers is back, or there are no more steps: AdamW (0.9, 0.999, 1e-8, no decay) at a
 * constant rate, gradients clipped at 1, all examples in an order of seed and epoch.
 *
 * @param trainable with nothing but the factors of the attack among its parameters
 * @throws E_DIVERGED for NaN or infinity in a loss or a gradient; E_ABORTED within a layer, E_OUT_OF_MEMORY
 */
export async function relearning(
  trainable: Trainable,
  sequences: readonly RoutedSequence[],
  { trained, held }: Division,
  targets: RelearnTargets,
  settings: Settings,
  { signal, onStep, onLooking, onLook }: RelearningHooks,
): Promise<RelearnLook[]> {
  const { steps, batch, learningRate, every, seed, rows } = settings;
  const looks: RelearnLook[] = [];
  const looked = [...trained, ...held];
  const pace = new Pace();
  let losses: number[] = [];
  const look = async (step: number): Promise<boolean> => {
    const list = looked.map((i) => sequences[i]!);
    const found = await lookedAt(step, () => probabilitiesOf(trainable, list, { rows, signal, onProgress: onLooking }));
    const one: RelearnLook = {
      step,
      trained: mean(Array.from(found.subarray(0, trained.length))),
      held: held.length === 0 ? null : mean(Array.from(found.subarray(trained.length))),
      loss: losses.length === 0 ? null : mean(losses),
    };
    losses = [];
    looks.push(one);
    onLook(one);
    return one.trained >= targets.trained && (one.held === null || one.held >= targets.held!);
  };
  const optimiser = new AdamW(trainable, { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0, clip: 1 });
  try {
    if (await look(0)) return looks;
    trainable.train(() => true);
    const examples = endless(trained, seed);
    for (let step = 1; step <= steps; step++) {
      throwIfAborted(signal);
      const some = Array.from({ length: Math.min(batch, trained.length) }, () => sequences[examples.next().value]!);
      trainable.zeroGradients();
      let loss = 0;
      for (const one of routedBatches(some, rows).batches) loss += (await trainable.step(one, { signal })).crossEntropy;
      const norm = await optimiser.norm();
      if (!Number.isFinite(norm) || !Number.isFinite(loss)) {
        throw diverged(
          `Relearning diverged in step ${step}: its loss is ${loss}, the norm of its gradient ${norm}.`,
          null,
        );
      }
      optimiser.step(learningRate, norm);
      losses.push(loss);
      onStep(step);
      await pace.breathe();
      if ((step % every === 0 || step === steps) && (await look(step))) break;
    }
    return looks;
  } finally {
    trainable.train(() => false);
    optimiser.dispose();
  }
}

/** One epoch after another; epoch 0 of the draws has chosen who is trained on. */
function* endless(list: readonly number[], seed: number): Generator<number, never> {
  for (let epoch = 1; ; epoch++) for (const i of orderOf(Uint32Array.from(list), seed, epoch)) yield i;
}
