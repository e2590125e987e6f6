import { indexOfLargest } from '../model/divergence.ts';
import type { LabelScores } from './label-probe.ts';
import { overLabels } from './labels.ts';

/** Less likely labels count as likely as this, so that no member can rule a label out alone. */
const FLOOR = 1e-6;

/** Shares of the vote by label, and how much they count. */
export interface WeightedVote {
  readonly shares: Float64Array;
  readonly weight: number;
}

/**
 * A logarithmic opinion pool (Genest and Zidek 1986): the geometric mean of the members' distributions over labels, times the vote's
 * shares to the power of its weight, normalised. Members are the distributions behind several counts of shots; the last one is the
 * count that the result is for, whose mass and logits it keeps.
 */
export function pooledScores(members: readonly LabelScores[], vote: WeightedVote | null): LabelScores {
  const own = members.at(-1)!;
  if (members.length === 1 && !vote) return own;
  const logs = own.probabilities.map((_, i) => {
    const mean = members.reduce((sum, { probabilities }) => sum + Math.log(Math.max(FLOOR, probabilities[i]!)), 0);
    return mean / members.length + (vote ? vote.weight * Math.log(vote.shares[i]!) : 0);
  });
  const { probabilities, entropy } = overLabels(logs);
  return { ...own, probabilities, entropy, best: indexOfLargest(probabilities) };
}

/** Shares of the labels among voters, one vote each and half a vote more spread over all labels. @param voters indices of labels */
export function voteShares(voters: readonly number[], labels: number): Float64Array {
  const votes = new Float64Array(labels).fill(0.5 / labels);
  for (const label of voters) votes[label]!++;
  return votes.map((count) => count / (voters.length + 0.5));
}
