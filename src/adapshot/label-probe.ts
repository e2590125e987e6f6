import type { Decoder } from '../model/decoder.ts';
import { indexOfLargest } from '../model/divergence.ts';
import { greedyLabel, type LabelNode, type LabelTrie, overLabels, sumLogProbabilities } from './labels.ts';
import { eachLogits } from './rows.ts';
import type { Branch, UseHidden } from './types.ts';

/** Beginnings of labels less likely than this, against the likeliest one, are not looked into. */
const FAINT = 1e-3;

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
}

/** Runs branches: those of a context, a chain, or a plain text. */
export type RunBranches = <T>(list: readonly Branch[], use: UseHidden<T>) => Promise<T>;

/**
 * Every label behind a query with each of several counts of shots: one forward pass for the queries, and where labels have several
 * tokens another for the beginnings that several labels share or go on from, of all counts. Labels whose beginning has less than a
 * thousandth of the likeliest one's probability are not told apart: they share it equally.
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
    const forks = counts.flatMap((_, branch) => {
      const likely = likelyRoots(trie, known[branch]!.get(trie.root)!);
      return trie
        .branches()
        .filter(({ nodes }) => likely.has(nodes[0]!))
        .map(({ ids: tokens, nodes }) => ({ branch, ids: tokens, nodes }));
    });
    if (forks.length > 0) {
      await fork(forks, async (more, places) => {
        const wanted = forks.flatMap(({ branch, nodes }, i) =>
          nodes.map((node, k) => ({ branch, node, row: places[i]!.first + k })),
        );
        const rows = wanted.map(({ row }) => row);
        await eachLogits(decoder, more, rows, (i, logits, logSumExp) => {
          const { branch, node } = wanted[i]!;
          known[branch]!.set(node, childrenOf(node, logits, logSumExp));
        });
      });
    }
    const scores = counts.map((shots, i): LabelScores => {
      // what was not looked into is shared equally
      const at = (node: LabelNode) =>
        known[i]!.get(node) ?? new Float64Array(node.children.size).fill(-Math.log(node.children.size));
      const sums = sumLogProbabilities(trie, at);
      const { probabilities, entropy } = overLabels(sums);
      const mass = sums.reduce((sum, log) => sum + Math.exp(log), 0);
      const best = scoring === 'greedy' ? greedyLabel(trie, at) : indexOfLargest(probabilities);
      return { shots, probabilities, entropy, mass, best, logits: first[i]! };
    });
    const forwarded = ids.length * counts.length + forks.reduce((sum, { ids: tokens }) => sum + tokens.length, 0);
    return { scores, forwarded };
  });
}

/** Log-probabilities of the tokens that may follow, out of the whole vocabulary. */
function childrenOf(node: LabelNode, logits: Float32Array, logSumExp: number): Float64Array {
  return Float64Array.from(node.children.keys(), (token) => logits[token]! - logSumExp);
}

function likelyRoots(trie: LabelTrie, logs: Float64Array): ReadonlySet<LabelNode> {
  const least = Math.max(...logs) + Math.log(FAINT);
  return new Set([...trie.root.children.values()].filter((_, i) => logs[i]! >= least));
}
