import type { Decoder } from '../../model/decoder.ts';
import { indexOfLargest } from '../../model/divergence.ts';
import { eachLogits } from '../../model/logits-of-rows.ts';
import { inBatches } from '../pool/batches.ts';
import type { Branch, UseHidden } from '../types.ts';
import { childrenOf, eachChildren, type NodeRow } from './label-rows.ts';
import { greedyLabel, type LabelNode, type LabelTrie, overLabels, sumLogProbabilities } from './labels.ts';

/** Labels behind one count of shots. */
export interface LabelScores {
  readonly shots: number;
  /** Over the labels alone. */
  readonly probabilities: Float64Array;
  /** Of these probabilities, in nats (E4). */
  readonly entropy: number;
  /** Probability of all labels, out of everything. */
  readonly mass: number;
  /** Index of the answer. */
  readonly best: number;
  /** Logits of the first answer token. */
  readonly logits: Float32Array;
  /** Indices of the labels that were looked at; the others have probability 0, and count nowhere. Null: all. */
  readonly scored: readonly number[] | null;
}

/** Runs branches: those of a context, a chain, or a plain text. */
export type RunBranches = <T>(list: readonly Branch[], use: UseHidden<T>) => Promise<T>;

/**
 * Every label behind a query with each of several counts of shots: one forward pass for the queries, and where labels have several tokens
 * more of them, 512 tokens each, for all beginnings of labels behind all counts. Nothing is left out: what is likely at a label's first
 * token says little of its sum, and probabilities, entropy and mass need the sums of all.
 * @returns by count, and the tokens that went through the layers
 */
export async function probeLabels(
  decoder: Decoder,
  run: RunBranches,
  trie: LabelTrie,
  ids: readonly number[],
  counts: readonly number[],
  scoring: 'sum' | 'greedy',
): Promise<{ readonly scores: readonly LabelScores[]; readonly forwarded: number }> {
  const list = counts.map((shots): Branch => ({ ids, shots }));
  return run(list, async (hidden, branches, fork) => {
    const known = counts.map(() => new Map<LabelNode, Float64Array>());
    const first: Float32Array[] = [];
    const last = branches.map(({ first: row, count }) => row + count - 1);
    await eachLogits(decoder, hidden, last, (i, logits, logSumExp) => {
      first.push(logits);
      known[i]!.set(trie.root, childrenOf(trie.root, logits, logSumExp));
    });
    const beginnings = trie.branches();
    const forks = counts.flatMap((_, branch) => beginnings.map((beginning) => ({ branch, ...beginning })));
    // all at once would take memory with the number of labels
    for (const some of inBatches(forks, (one) => one.ids.length)) {
      await fork(some, async (more, places) => {
        const wanted = some.flatMap(({ branch, nodes }, i) =>
          nodes.map((node, k) => ({ branch, node, row: places[i]!.first + k })),
        );
        await eachChildren(decoder, more, unseen(wanted, known), ({ branch, node }, logs) => {
          known[branch]!.set(node, logs);
        });
      });
    }
    const scores = counts.map((shots, i): LabelScores => {
      const at = (node: LabelNode) => known[i]!.get(node)!;
      const sums = sumLogProbabilities(trie, at);
      const mass = sums.reduce((sum, log) => sum + Math.exp(log), 0);
      const best = scoring === 'greedy' ? greedyLabel(trie, at) : indexOfLargest(sums);
      return { shots, ...overLabels(sums), mass, best, logits: first[i]!, scored: null };
    });
    const forwarded = ids.length * counts.length + forks.reduce((sum, { ids: tokens }) => sum + tokens.length, 0);
    return { scores, forwarded };
  });
}

/** Scores of some of the labels (`LabelTrie.among`) as of all of them. */
export function amongAll(scores: LabelScores, scored: readonly number[], labels: number): LabelScores {
  const probabilities = new Float64Array(labels);
  for (const [i, label] of scored.entries()) probabilities[label] = scores.probabilities[i]!;
  return { ...scores, probabilities, best: scored[scores.best]!, scored };
}

type Wanted = NodeRow & { readonly branch: number };

/** Where beginnings share a node, all have the same behind it: of a batch the first, and none that an earlier batch had. */
function unseen(wanted: readonly Wanted[], known: readonly ReadonlyMap<LabelNode, unknown>[]): Wanted[] {
  const seen = known.map(() => new Set<LabelNode>());
  return wanted.filter(({ branch, node }) => {
    if (known[branch]!.has(node) || seen[branch]!.has(node)) return false;
    return seen[branch]!.add(node);
  });
}
