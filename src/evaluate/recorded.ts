import { likelyLabels } from '../show/answer/likely.ts';
import type { ItemResult } from './types.ts';

/** Ids of examples that a result names: of more the first ones. */
export const MOST_SHOWN = 32;

/**
 * What a result tells besides its label.
 * @param probabilities of each label, in their order
 * @param shown ids of the examples, the best first where they were ranked
 */
export function recorded(
  labels: readonly string[],
  probabilities: ArrayLike<number>,
  shown: readonly string[],
): Required<Pick<ItemResult, 'top' | 'entropy' | 'shown'>> {
  return {
    top: likelyLabels(labels, probabilities),
    entropy: entropyOf(probabilities),
    shown: shown.slice(0, MOST_SHOWN),
  };
}

/** -Σ p ln p, in nats. */
export function entropyOf(probabilities: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < probabilities.length; i++) {
    const p = probabilities[i]!;
    if (p > 0) sum -= p * Math.log(p);
  }
  return sum;
}
