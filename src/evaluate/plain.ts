import type { Tensor } from '../device/device.ts';
import { exclusive } from '../device/exclusive.ts';
import type { Decoder } from '../model/decoder.ts';
import type { KvCache } from '../model/kv-cache.ts';
import { eachLogits } from '../model/logits-of-rows.ts';
import { inBatches } from '../show/pool/batches.ts';
import { runBranches } from '../show/probe/branches.ts';
import { childrenOf, eachChildren } from '../show/probe/label-rows.ts';
import {
  type ChildLogProbs,
  greedyLabel,
  type LabelNode,
  type LabelTrie,
  overLabels,
  sumLogProbabilities,
} from '../show/probe/labels.ts';
import type { BranchRows } from '../show/types.ts';

/** Labels behind a prompt, from plain forward passes with full attention. */
export interface LabelScores {
  /** Log-probabilities of the labels, in nats (S2). */
  readonly sums: Float64Array;
  /** Probabilities over the labels alone, and their entropy in nats. */
  readonly probabilities: Float64Array;
  readonly entropy: number;
  /** Index of the label that greedy decoding among labels gives (S1). */
  readonly greedy: number;
  /** Of the first answer token. */
  readonly logits: Float32Array;
  /** Until the first answer token is known, and in all. */
  readonly firstMilliseconds: number;
  readonly milliseconds: number;
  /** Tokens that went through the layers. */
  readonly forwarded: number;
}

/**
 * Runs tokens behind what a cache holds, and scores every label behind them. The cache is left as it was.
 * @param ids one token or more
 * @throws E_ARGUMENT, E_CONTEXT_LENGTH, E_OUT_OF_MEMORY, E_ABORTED
 */
export function scoreLabels(
  decoder: Decoder,
  cache: KvCache,
  ids: readonly number[],
  trie: LabelTrie,
  signal?: AbortSignal,
): Promise<LabelScores> {
  return exclusive(decoder.device, async () => {
    const started = performance.now();
    const before = cache.length;
    const children = new Map<LabelNode, Float64Array>();
    const take = ({ node }: { readonly node: LabelNode }, logs: Float64Array) => void children.set(node, logs);
    let forwarded = ids.length;
    let logits: Float32Array = new Float32Array(0);
    try {
      await decoder.forward(ids, cache, {
        output: 'last',
        signal,
        onChunk: (hidden) =>
          eachLogits(decoder, hidden, [0], (_, first, logSumExp) => {
            logits = first;
            children.set(trie.root, childrenOf(trie.root, first, logSumExp));
          }),
      });
      const firstMilliseconds = performance.now() - started;
      const position = (cache.positions.at(-1) ?? -1) + 1;
      const behind = { position, shots: { first: 0, end: cache.length }, others: [] };
      for (const some of inBatches(trie.branches(), (branch) => branch.ids.length)) {
        const plans = some.map(({ ids: tokens }) => ({ ids: tokens, ...behind }));
        const use = (hidden: Tensor, rows: readonly BranchRows[]) => {
          const wanted = some.flatMap(({ nodes }, i) => nodes.map((node, k) => ({ node, row: rows[i]!.first + k })));
          // where branches share a node, all have the same
          return eachChildren(decoder, hidden, wanted, take);
        };
        await runBranches(decoder, cache, plans, use, { factor: 1, signal });
        forwarded += some.reduce((sum, branch) => sum + branch.ids.length, 0);
      }
      const at: ChildLogProbs = (node) => children.get(node)!;
      const sums = sumLogProbabilities(trie, at);
      return {
        sums,
        ...overLabels(sums),
        greedy: greedyLabel(trie, at),
        logits,
        firstMilliseconds,
        milliseconds: performance.now() - started,
        forwarded,
      };
    } finally {
      cache.truncate(before);
    }
  });
}
