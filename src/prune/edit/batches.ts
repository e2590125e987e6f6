import type { TrainingSequence } from '../../datasets/training/types.ts';
import { EspalierError } from '../../errors.ts';
import { packStep } from '../../train/packing.ts';
import type { MicroBatch } from '../../train/trainable.ts';
import type { GradientPenalty } from './gradient-penalty.ts';

/** A sequence with Tsallis entropies of the frozen base, all of one order. */
export interface PruneSequence extends TrainingSequence {
  /** [L], of the prediction that each token was to be guessed from; the first is no number. */
  readonly entropies: Float32Array;
  /** [L] 1: high. */
  readonly high: Uint8Array;
}

/**
 * What a model shall give in place of what it forgets: `hinge`, anything else, by the inverted hinge loss; `base`, what the reference gives there, by
 * the divergence from it.
 */
export const FORGET_OBJECTIVES = ['hinge', 'base'] as const;
export type ForgetObjective = (typeof FORGET_OBJECTIVES)[number];

/** Positions of answers that are forgotten: of low entropy, which hold facts, all, or of high entropy. */
export const FORGET_MASKS = ['low', 'all', 'high'] as const;
export type ForgetMask = (typeof FORGET_MASKS)[number];

/** Whether a token is forgotten, by whether its entropy is high. */
const MASKED: Readonly<Record<ForgetMask, (isHigh: boolean) => boolean>> = {
  low: (isHigh) => !isHigh,
  all: () => true,
  high: (isHigh) => isHigh,
};

/** Tokens of a sequence that a loss is over. */
export interface LossTokens {
  readonly high: number;
  readonly low: number;
}

/** A step whose losses and gradients are those of its batches together. */
export interface PruneStep {
  readonly batches: readonly MicroBatch[];
  /** Beside them, of A; its gradient comes first (`gradientPenalty`). */
  readonly penalty?: GradientPenalty;
  /** By sequence, in the order in which they were given. */
  readonly tokens: readonly LossTokens[];
}

/**
 * What keeps structure in Phase I, of the tokens that are high: `entropy`, mean (S_q − S_q of the base)²; `kl`, mean KL(reference ‖ model), told with the
 * reference's entropy as the loss of a distillation; `entropy-gradient`, ‖∇_A Σ S_q‖² / count.
 */
export const STRUCTURE_REGULARISERS = ['entropy', 'kl', 'entropy-gradient'] as const;
export type StructureRegulariser = (typeof STRUCTURE_REGULARISERS)[number];

export interface StructureOptions {
  /** Default `entropy`. */
  readonly regulariser?: StructureRegulariser;
  /** q of S_q. */
  readonly order: number;
  /** Of the regulariser. */
  readonly factor: number;
}

/** Phase I: mean cross-entropy of the learned tokens of high entropy, and factor · the regulariser over the same. Null where there are none. */
export function structureStep(
  sequences: readonly PruneSequence[],
  rows: number,
  { regulariser = 'entropy', order, factor }: StructureOptions,
): PruneStep | null {
  const isHigh = (own: PruneSequence, t: number): boolean => own.learned[t] === 1 && own.high[t] === 1;
  const count = countOf(sequences, isHigh);
  if (count === 0) return null;
  const high = (by: ByRow, value: number) => by((own, t) => (isHigh(own, t) ? value : 0));
  const crossEntropy = (batch: MicroBatch, by: ByRow) => ({ ...batch, weights: high(by, 1 / count) });
  if (factor === 0) return step(sequences, rows, isHigh, crossEntropy);
  switch (regulariser) {
    case 'entropy':
      return step(sequences, rows, isHigh, (batch, by) => {
        const base = by((own, t) => (isHigh(own, t) ? own.entropies[t]! : 0));
        return { ...crossEntropy(batch, by), invariance: { order, base, weights: high(by, factor / count) } };
      });
    case 'kl':
      return step(sequences, rows, isHigh, (batch, by) => {
        return { ...crossEntropy(batch, by), distillation: { penalty: 0, weights: high(by, factor / count) } };
      });
    case 'entropy-gradient': {
      const { batches } = step(sequences, rows, isHigh, (batch, by) => ({
        ...batch,
        weights: new Float32Array(batch.ids.length),
        invariance: { order, base: null, weights: high(by, 1) },
      }));
      return { ...step(sequences, rows, isHigh, crossEntropy), penalty: { batches, factor: factor / count } };
    }
    default:
      return regulariser satisfies never;
  }
}

/**
 * Phase II, forgetting one sub-domain: factor · the mean loss of the objective over the masked tokens of its answers, its expert acting on all of theirs and
 * nowhere else. An answer that has no masked token is forgotten as a whole.
 * @param options `expert`: its column of the routing, of `experts`
 * @throws E_ARGUMENT for a column that is not there
 */
export function forgetStep(
  sequences: readonly PruneSequence[],
  rows: number,
  options: {
    readonly expert: number;
    readonly experts: number;
    readonly mask: ForgetMask;
    readonly factor: number;
    readonly objective?: ForgetObjective;
  },
): PruneStep {
  const { expert, experts, mask, factor, objective = 'hinge' } = options;
  if (!(Number.isInteger(expert) && expert >= 0 && expert < experts)) {
    throw new EspalierError('E_ARGUMENT', `There is no expert ${expert} of ${experts}.`, 'They are counted from 0.');
  }
  const masked = (own: PruneSequence, t: number): boolean => own.learned[t] === 1 && MASKED[mask](own.high[t] === 1);
  const whole = new Set(sequences.filter((own) => countOf([own], masked) === 0));
  const isForgotten = (own: PruneSequence, t: number): boolean =>
    whole.has(own) ? own.learned[t] === 1 : masked(own, t);
  const count = countOf(sequences, isForgotten);
  const asked = (weights: Float32Array): Partial<MicroBatch> => {
    switch (objective) {
      case 'hinge':
        return { hinge: weights };
      case 'base':
        return { distillation: { penalty: 0, weights } };
      default:
        return objective satisfies never;
    }
  };
  return step(sequences, rows, isForgotten, (batch, by) => {
    const weights = by((own, t) => (isForgotten(own, t) ? factor / count : 0));
    const acts = by((own, t) => own.learned[t]!);
    const routing = new Float32Array(batch.ids.length * experts);
    for (const [row, coefficient] of acts.entries()) routing[row * experts + expert] = coefficient;
    return {
      ...batch,
      weights: new Float32Array(batch.ids.length),
      ...asked(weights),
      routing,
    };
  });
}

/** Phase II, retaining: factor · mean cross-entropy of what is learned; no forget expert acts. */
export function retainStep(sequences: readonly PruneSequence[], rows: number, factor: number): PruneStep {
  const isKept = (own: PruneSequence, t: number): boolean => own.learned[t] === 1;
  const count = countOf(sequences, isKept);
  return step(sequences, rows, isKept, (batch, by) => ({
    ...batch,
    weights: by((own, t) => (isKept(own, t) ? factor / count : 0)),
  }));
}

/** Values by row of a batch: row t − 1 of a sequence predicts its token t. */
type ByRow = (value: (own: PruneSequence, t: number) => number) => Float32Array;

/** @param isAsked whether the loss is over a token */
function step(
  sequences: readonly PruneSequence[],
  rows: number,
  isAsked: (own: PruneSequence, t: number) => boolean,
  asked: (batch: MicroBatch, by: ByRow) => MicroBatch,
): PruneStep {
  const { batches, members } = packStep(sequences, rows);
  const made = batches.map((batch, i) =>
    asked(batch, (value) => {
      const list = new Float32Array(batch.ids.length);
      let row = 0;
      for (const member of members[i]!) {
        const own = sequences[member]!;
        for (let t = 1; t < own.ids.length; t++) list[row++] = value(own, t);
      }
      return list;
    }),
  );
  const tokens = sequences.map((own): LossTokens => {
    const high = countOf([own], (_, t) => isAsked(own, t) && own.high[t] === 1);
    return { high, low: countOf([own], isAsked) - high };
  });
  return { batches: made, tokens };
}

function countOf(sequences: readonly PruneSequence[], is: (own: PruneSequence, t: number) => boolean): number {
  let count = 0;
  for (const own of sequences) for (let t = 1; t < own.ids.length; t++) if (is(own, t)) count++;
  return count;
}
