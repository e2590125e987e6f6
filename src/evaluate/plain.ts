import {
  type ChildLogProbs,
  greedyLabel,
  type LabelNode,
  type LabelTrie,
  overLabels,
  sumLogProbabilities,
} from '../adapshot/labels.ts';
import { STAT, type Tensor } from '../device/device.ts';
import { exclusive } from '../device/exclusive.ts';
import type { Decoder } from '../model/decoder.ts';
import type { KvCache } from '../model/kv-cache.ts';

/** Labels behind a prompt, from plain forward passes with full attention. */
export interface LabelScores {
  /** Log-probabilities of the labels, in nats (S2). */
  readonly sums: Float64Array;
  /** Probabilities over the labels alone, and their entropy in nats. */
  readonly probabilities: Float64Array;
  readonly entropy: number;
  /** Index of the label that greedy decoding among labels gives (S1). */
  readonly greedy: number;
  /** Until the first answer token is known, and in all. */
  readonly firstMilliseconds: number;
  readonly milliseconds: number;
  /** Tokens that went through the layers. */
  readonly forwarded: number;
}

/** Rows of one forward pass with a mask, and rows of logits that exist at once. */
const MASKED = 512;
const ROWS = 16;

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
    const children = new Map<LabelNode, readonly number[]>();
    let forwarded = ids.length;
    try {
      await decoder.forward(ids, cache, {
        output: 'last',
        signal,
        onChunk: async (hidden) => {
          children.set(trie.root, (await readChildren(decoder, hidden, [trie.root]))[0]!);
        },
      });
      const firstMilliseconds = performance.now() - started;
      for (const { branches, rows } of batches(trie)) {
        await runBranches(decoder, cache, branches, rows, children, signal);
        forwarded += rows;
      }
      const at: ChildLogProbs = (node) => children.get(node)!;
      const sums = sumLogProbabilities(trie, at);
      return {
        sums,
        ...overLabels(sums),
        greedy: greedyLabel(trie, at),
        firstMilliseconds,
        milliseconds: performance.now() - started,
        forwarded,
      };
    } finally {
      cache.truncate(before);
    }
  });
}

type Branches = ReturnType<LabelTrie['branches']>;

/** Branches that fit one forward pass. A branch that fits none is the decoder's to refuse. */
function batches(trie: LabelTrie): { branches: Branches; rows: number }[] {
  const list: { branches: Branches[number][]; rows: number }[] = [];
  for (const branch of trie.branches()) {
    const last = list.at(-1);
    if (last && last.rows + branch.ids.length <= MASKED) {
      last.branches.push(branch);
      last.rows += branch.ids.length;
    } else list.push({ branches: [branch], rows: branch.ids.length });
  }
  return list;
}

/** Every branch sees what is in the cache and itself, as if it stood alone. The cache is left as it was. */
async function runBranches(
  decoder: Decoder,
  cache: KvCache,
  branches: Branches,
  rows: number,
  children: Map<LabelNode, readonly number[]>,
  signal: AbortSignal | undefined,
): Promise<void> {
  const base = cache.length;
  const position = (cache.positions.at(-1) ?? -1) + 1;
  const mask = new Int32Array(3 * rows);
  const positions: number[] = [];
  const nodes: LabelNode[] = [];
  for (const branch of branches) {
    const self = base + nodes.length;
    for (const [i, node] of branch.nodes.entries()) {
      mask.set([0, base, self], 3 * nodes.length);
      positions.push(position + i);
      nodes.push(node);
    }
  }
  const ids = branches.flatMap((branch) => branch.ids);
  await decoder.forward(ids, cache, {
    mask,
    positions,
    signal,
    onChunk: async (hidden) => {
      for (let start = 0; start < rows; start += ROWS) {
        const some = nodes.slice(start, start + ROWS);
        const got = await readChildren(decoder, decoder.device.rows(hidden, start, some.length), some);
        // where branches share a node, all have the same
        for (const [i, node] of some.entries()) children.set(node, got[i]!);
      }
    },
  });
  cache.truncate(base);
}

/** For rows of hidden states the log-probabilities of their nodes' children, out of the whole vocabulary. */
async function readChildren(decoder: Decoder, hidden: Tensor, nodes: readonly LabelNode[]): Promise<number[][]> {
  const { device, config } = decoder;
  const mark = device.mark();
  try {
    const logits = decoder.logits(hidden);
    const stats = device.scratch('f32', [nodes.length, 8]);
    device.logitStats(logits, null, 1, stats);
    const sums = (await device.read(stats)) as Float32Array;
    const values = (await device.read(logits)) as Float32Array;
    return nodes.map((node, row) =>
      Array.from(node.children.keys(), (token) => {
        return values[row * config.vocabSize + token]! - sums[8 * row + STAT.logSumExp]!;
      }),
    );
  } finally {
    device.reset(mark);
  }
}
