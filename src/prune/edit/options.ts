import { EspalierError } from '../../errors.ts';
import type { Filled } from '../../options/check.ts';
import { defaulting, either, nothing, oneOf, real, type Schema, truth, whole } from '../../options/rules.ts';
import { rateRule } from '../../train/schedule.ts';
import {
  FORGET_MASKS,
  FORGET_OBJECTIVES,
  type ForgetMask,
  type ForgetObjective,
  STRUCTURE_REGULARISERS,
  type StructureRegulariser,
} from './batches.ts';

/**
 * When A learns: `phases`, in a Phase I before anything is forgotten; `interleaved`, in every step, from tokens of high entropy, beside the experts,
 * which learn from those of low entropy: the schedule of public notes on ALTER, word for word.
 */
export const SCHEDULES = ['phases', 'interleaved'] as const;
export type PruneSchedule = (typeof SCHEDULES)[number];

/** Of `TwoPhases`. Rates and factors are the paper's. */
export interface TwoPhaseOptions {
  /** Sequences of a step. Default 16. */
  readonly batch?: number;
  /** Most tokens of a pass; none of the sequences may be longer. Default 2048. */
  readonly rows?: number;
  /**
   * When A learns: `phases`, in a Phase I, and it rests then; `interleaved`, without a Phase I, in each step before what is forgotten, with B_r and
   * the experts resting. Default `phases`.
   */
  readonly schedule?: PruneSchedule;
  /** Steps of Phase I; 0: none. Default 50. */
  readonly structureSteps?: number;
  /** How often Phase II goes through what is to be forgotten. Default 3. */
  readonly epochs?: number;
  /** Learning rate of A. Default 1e-5. */
  readonly sharedRate?: number;
  /** Learning rate of every B; in Phase II it rises from 0 in the first epoch, and stays. Default 1e-3. */
  readonly rate?: number;
  /** Factor of the loss of what is to be forgotten. Default 1. */
  readonly forgetting?: number;
  /** Factor of the cross-entropy of what is kept, in Phase II. Default 1. */
  readonly retention?: number;
  /** Whether B_r learns in Phase II; of a later request it does not, so that the request can be taken back. Default true. */
  readonly retains?: boolean;
  /**
   * What keeps structure in Phase I, at tokens of high entropy: `entropy`, the squared change of entropies; `kl`, the divergence from the reference of
   * the trainable; `entropy-gradient`, the squared gradient of their entropies by A, which takes three passes more. Default `entropy`.
   */
  readonly regulariser?: StructureRegulariser;
  /** Its factor. Default 0.01. */
  readonly invariance?: number;
  /**
   * What is given in place of what is forgotten: `hinge`, anything else; `base`, what the reference of the trainable gives. Default `hinge`.
   */
  readonly objective?: ForgetObjective;
  /** Which tokens of answers are forgotten: of low entropy, of high, or all. Default `low`. */
  readonly mask?: ForgetMask;
  /** An expert rests for good once the probability of its answers, a token, is below this; null: never. Default 0.006. */
  readonly enough?: number | null;
  /** Largest norm of a gradient. Default 1. */
  readonly clip?: number;
  /** Looks within an epoch; 0.25: one in four of them, and one at the end. Default 6. */
  readonly looks?: number;
  /** Of the draws of examples. Default 0. */
  readonly seed?: number;
}

const positive = real(0, Number.MAX_VALUE, { above: true });

/** Sequences of a step, unless told otherwise: of fewer some are taken more than once. */
export const BATCH = 16;

export const twoPhaseOptions = {
  batch: defaulting(whole(1), BATCH),
  rows: defaulting(whole(1), 2048),
  schedule: defaulting(oneOf(...SCHEDULES), 'phases'),
  structureSteps: defaulting(whole(0), 50),
  epochs: defaulting(whole(1), 3),
  sharedRate: defaulting(positive, 1e-5),
  rate: defaulting(rateRule, 1e-3),
  forgetting: defaulting(positive, 1),
  retention: defaulting(positive, 1),
  retains: defaulting(truth, true),
  regulariser: defaulting(oneOf(...STRUCTURE_REGULARISERS), 'entropy'),
  invariance: defaulting(real(0), 0.01),
  objective: defaulting(oneOf(...FORGET_OBJECTIVES), 'hinge'),
  mask: defaulting(oneOf(...FORGET_MASKS), 'low'),
  enough: defaulting(either(real(0, 1), nothing), 0.006),
  clip: defaulting(positive, 1),
  looks: defaulting(positive, 6),
  seed: defaulting(whole(0), 0),
} as const satisfies Schema<TwoPhaseOptions>;

/**
 * @param isStructured whether A learns at all
 * @throws E_ARGUMENT for options that contradict each other, and what a reference is needed for where there is none
 */
export function checkTogether(
  options: TwoPhaseOptions,
  settings: Filled<TwoPhaseOptions, typeof twoPhaseOptions>,
  isStructured: boolean,
  { hasReference }: { readonly hasReference: boolean },
): void {
  const { schedule, objective, regulariser, invariance } = settings;
  if (schedule === 'interleaved' && (options.structureSteps ?? 0) > 0) {
    throw new EspalierError(
      'E_ARGUMENT',
      '`schedule` is interleaved, and there is no Phase I.',
      'Leave `structureSteps` out, or `schedule`.',
    );
  }
  const asks = objective === 'base' ? '`objective: "base"`' : '`regulariser: "kl"`';
  const keeps = isStructured && regulariser === 'kl' && invariance > 0;
  if (hasReference || !(objective === 'base' || keeps)) return;
  throw new EspalierError(
    'E_ARGUMENT',
    `The trainable has no reference, which ${asks} asks.`,
    'Load it with one: `DecoderTrainable.load(…, { reference: new DecoderReference(decoder) })`.',
  );
}
