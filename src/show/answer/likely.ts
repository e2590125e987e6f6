import type { LikelyLabel } from '../types.ts';

/** Labels that an answer names with their probabilities. */
export const MOST_LIKELY = 5;

/** The likeliest labels, the likeliest first; of equal ones that which stands earlier. @param probabilities of each label, in their order */
export function likelyLabels(labels: readonly string[], probabilities: ArrayLike<number>): readonly LikelyLabel[] {
  return labels
    .map((label, i): LikelyLabel => ({ label, probability: probabilities[i]! }))
    .sort((a, b) => b.probability - a.probability)
    .slice(0, MOST_LIKELY);
}
