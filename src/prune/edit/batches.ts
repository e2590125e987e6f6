import type { TrainingSequence } from '../../datasets/training/types.ts';
import { EspalierError } from '../../errors.ts';
import { packStep } from '../../train/packing.ts';
import type { MicroBatch } from '../../train/trainable.ts';

/** A sequence with Tsallis entropies of the frozen base, all of one order. */
export interface PruneSequence extends TrainingSequence {
  /** [L], of the prediction that each token was to be guessed from; the first is no number. */
  readonly entropies: Float32Array;
  /** [L] 1: high. */
  readonly high: Uint8Array;
}

/** Positions of answers that are forgotten: of low entropy, which hold facts, all, or of high entropy. */
export const FORGET_MASKS = ['low', 'all', 'high'] as const;
export type ForgetMask = (typeof FORGET_MASKS)[number];

/** Whether a token is forgotten, by whether its entropy is high. */
const MASKED: Readonly<Record<ForgetMask, (isHigh: boolean) => boolean>> = {
  low: (isHigh) => !isHigh,
  all: () => true,
  high: (isHigh) => isHigh,
};

/** A step whose losses and gradients are those of its batches together. */
export interface PruneStep {
  readonly batches: readonly MicroBatch[];
}

/**
 * Phase I: mean cross-entropy of the learned tokens of high entropy, and factor · mean (S_q − S_q of the base)² over the same. Null where
 * there are none.
 */
export function structureStep(
  sequences: readonly PruneSequence[],
  rows: number,
  invariance: { readonly order: number; readonly factor: number },
): PruneStep | null {
  const isHigh = (own: PruneSequence, t: number): boolean => own.learned[t] === 1 && own.high[t] === 1;
  const count = countOf(sequences, isHigh);
  if (count === 0) return null;
  return step(sequences, rows, (batch, by) => ({
    ...batch,
    weights: by((own, t) => (isHigh(own, t) ? 1 / count : 0)),
    ...(invariance.factor > 0 && {
      invariance: {
        order: invariance.order,
        base: by((own, t) => (isHigh(own, t) ? own.entropies[t]! : 0)),
        weights: by((own, t) => (isHigh(own, t) ? invariance.factor / count : 0)),
      },
    }),
  }));
}

/**
 * Phase II, forgetting one sub-domain: factor · mean inverted hinge over the masked tokens of its answers, its expert acting on all of theirs and
 * nowhere else. An answer that has no masked token is forgotten as a whole.
 * @param options `expert`: its column of the routing, of `experts`
 * @throws E_ARGUMENT for a column that is not there
 */
export function forgetStep(
  sequences: readonly PruneSequence[],
  rows: number,
  options: { readonly expert: number; readonly experts: number; readonly mask: ForgetMask; readonly factor: number },
): PruneStep {
  const { expert, experts, mask, factor } = options;
  if (!(Number.isInteger(expert) && expert >= 0 && expert < experts)) {
    throw new EspalierError('E_ARGUMENT', `There is no expert ${expert} of ${experts}.`, 'They are counted from 0.');
  }
  const masked = (own: PruneSequence, t: number): boolean => own.learned[t] === 1 && MASKED[mask](own.high[t] === 1);
  const whole = new Set(sequences.filter((own) => countOf([own], masked) === 0));
  const isForgotten = (own: PruneSequence, t: number): boolean =>
    whole.has(own) ? own.learned[t] === 1 : masked(own, t);
  const count = countOf(sequences, isForgotten);
  return step(sequences, rows, (batch, by) => {
    const acts = by((own, t) => own.learned[t]!);
    const routing = new Float32Array(batch.ids.length * experts);
    for (const [row, coefficient] of acts.entries()) routing[row * experts + expert] = coefficient;
    return {
      ...batch,
      weights: new Float32Array(batch.ids.length),
      hinge: by((own, t) => (isForgotten(own, t) ? factor / count : 0)),
      routing,
    };
  });
}

/** Phase II, retaining: factor · mean cross-entropy of what is learned; no forget expert acts. */
export function retainStep(sequences: readonly PruneSequence[], rows: number, factor: number): PruneStep {
  const count = countOf(sequences, (own, t) => own.learned[t] === 1);
  return step(sequences, rows, (batch, by) => ({
    ...batch,
    weights: by((own, t) => (own.learned[t] === 1 ? factor / count : 0)),
  }));
}

/** Values by row of a batch: row t − 1 of a sequence predicts its token t. */
type ByRow = (value: (own: PruneSequence, t: number) => number) => Float32Array;

function step(
  sequences: readonly PruneSequence[],
  rows: number,
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
  return { batches: made };
}

function countOf(sequences: readonly PruneSequence[], is: (own: PruneSequence, t: number) => boolean): number {
  let count = 0;
  for (const own of sequences) for (let t = 1; t < own.ids.length; t++) if (is(own, t)) count++;
  return count;
}
