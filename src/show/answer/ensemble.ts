import { indexOfLargest } from '../../model/divergence.ts';
import type { LabelScores } from '../probe/label-probe.ts';
import { overLabels } from '../probe/labels.ts';

/** Less likely labels count as likely as this, so that no member can rule a label out alone. */
const FLOOR = 1e-6;

/** Shares of the vote by label, and how much they count. */
export interface WeightedVote {
  readonly shares: Float64Array;
  readonly weight: number;
}

/** By count of shots: what is taken off the logarithm of each label's probability. */
export type LabelBias = ReadonlyMap<number, readonly number[]>;

/** What ridge regression says, how much it counts, and how much the model does beside it. */
export interface WeightedRidge extends WeightedVote {
  readonly modelWeight: number;
}

export interface Combining {
  readonly vote: WeightedVote | null;
  readonly bias: LabelBias | null;
  readonly ridge?: WeightedRidge | null;
}

/** What is answered, and how sure that is. */
export type Opinion = Pick<LabelScores, 'probabilities' | 'entropy' | 'best'>;

/**
 * A logarithmic opinion pool (Genest and Zidek 1986): the geometric mean of the members' distributions over labels, each less its bias,
 * times the vote's shares and those of ridge regression to the power of their weights, normalised. Members are the distributions behind several
 * counts of shots; the last one is the count that the result is for, whose mass and logits it keeps. Labels that the model was not asked for keep the
 * probability that they had before.
 */
export function pooledScores(members: readonly LabelScores[], { vote, bias, ridge = null }: Combining): LabelScores {
  const own = members.at(-1)!;
  const biases = members.map(({ shots }) => biasAt(bias, shots));
  if (members.length === 1 && !vote && !ridge && biases[0] === null) return own;
  const before = logsBefore(own.probabilities.length, vote, ridge);
  const logs = before.map((log, i) => {
    const opinions = members.map(({ probabilities }, m) => logOf(probabilities[i]!) - (biases[m]?.[i] ?? 0));
    const mean = opinions.reduce((sum, opinion) => sum + opinion, 0) / members.length;
    return log + (ridge ? ridge.modelWeight * mean : mean);
  });
  if (own.scored === null) return { ...own, ...opinionOf(logs) };
  const all = overLabels(before).probabilities;
  const among = overLabels(own.scored.map((label) => logs[label]!)).probabilities;
  const mass = own.scored.reduce((sum, label) => sum + all[label]!, 0);
  const merged = all.map((p) => Math.log(p));
  for (const [i, label] of own.scored.entries()) merged[label] = Math.log(mass * among[i]!);
  return { ...own, ...opinionOf(merged) };
}

/** What is known of a query before any shot is shown. */
export function opinionBefore(vote: WeightedVote | null, ridge: WeightedRidge): Opinion {
  return opinionOf(logsBefore(ridge.shares.length, vote, ridge));
}

function logsBefore(labels: number, vote: WeightedVote | null, ridge: WeightedVote | null): Float64Array {
  const known = [vote, ridge].filter((one) => one !== null);
  return new Float64Array(labels).map((_, i) => {
    return known.reduce((sum, { shares, weight }) => sum + weight * logOf(shares[i]!), 0);
  });
}

function opinionOf(logs: Float64Array): Opinion {
  const { probabilities, entropy } = overLabels(logs);
  return { probabilities, entropy, best: indexOfLargest(probabilities) };
}

/** That of the nearest count, the smaller one of two. */
function biasAt(bias: LabelBias | null, shots: number): readonly number[] | null {
  const counts = [...(bias?.keys() ?? [])].sort((a, b) => Math.abs(a - shots) - Math.abs(b - shots) || a - b);
  return counts.length > 0 ? bias!.get(counts[0]!)! : null;
}

/** Counts, ascending, whose distributions the one behind so many shots averages. */
export function membersAt(shots: number, known: Iterable<number>, ensemble: 'one' | 'all'): number[] {
  const counts = [...known].filter((count) => (ensemble === 'one' ? count === shots : count <= shots));
  return counts.sort((a, b) => a - b);
}

/**
 * Batch calibration (Zhou et al. 2023, arXiv 2309.17249), in logarithms: what a label gets on average over queries, whatever is asked. The
 * same shots before every query prefer some labels.
 * @returns by count, times `strength`
 */
export function labelBias(lists: Iterable<ReadonlyMap<number, LabelScores>>, strength: number): LabelBias {
  const sums = new Map<number, { readonly logs: Float64Array; count: number }>();
  for (const scores of lists) {
    for (const [shots, { probabilities }] of scores) {
      const sum = sums.get(shots) ?? { logs: new Float64Array(probabilities.length), count: 0 };
      probabilities.forEach((p, i) => {
        sum.logs[i]! += logOf(p);
      });
      sum.count++;
      sums.set(shots, sum);
    }
  }
  return new Map([...sums].map(([shots, { logs, count }]) => [shots, Array.from(logs, (x) => (strength * x) / count)]));
}

function logOf(probability: number): number {
  return Math.log(Math.max(FLOOR, probability));
}

/**
 * Shares of the labels among voters, of which the r-th nearest counts 1 / r, mixed with equal shares, 2 : 1, so that none is 0.
 * @param voters indices of labels, the nearest first; -1 does not vote
 */
export function voteShares(voters: readonly number[], labels: number): Float64Array {
  const votes = new Float64Array(labels);
  for (const [i, label] of voters.entries()) if (label >= 0) votes[label]! += 1 / (i + 1);
  const total = votes.reduce((sum, count) => sum + count, 0);
  return votes.map((count) => ((total > 0 ? count / total : 1 / labels) + 0.5 / labels) / 1.5);
}
