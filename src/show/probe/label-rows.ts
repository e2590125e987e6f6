import { STAT, STAT_NUMBERS, type Tensor } from '../../device/device.ts';
import type { Decoder } from '../../model/decoder.ts';
import { checkLogitStats } from '../../model/finite.ts';
import { statsBuffers } from '../../model/logit-stats.ts';
import type { LabelNode } from './labels.ts';

/** Rows of logits that exist at once. */
const ROWS = 16;

/** A node of the trie, and the row of hidden states that predicts what follows it. */
export interface NodeRow {
  readonly node: LabelNode;
  readonly row: number;
}

/**
 * Log-probabilities of nodes' children, out of the whole vocabulary, in nats and in the order of `nextTokens`. Where a node has one child, as
 * most have, its number comes from the statistics of the row; else the row is read.
 * @param hidden [rows, hidden], normalised
 */
export async function eachChildren<T extends NodeRow>(
  decoder: Decoder,
  hidden: Tensor,
  wanted: readonly T[],
  take: (of: T, logProbabilities: Float64Array) => void,
): Promise<void> {
  const { device, config } = decoder;
  for (let first = 0; first < wanted.length; first += ROWS) {
    const some = wanted.slice(first, first + ROWS);
    const mark = device.mark();
    try {
      const chosen = device.scratch('f32', [some.length, config.hiddenSize]);
      for (const [i, { row }] of some.entries()) device.copyRows(device.rows(hidden, row, 1), chosen, i);
      const logits = decoder.logits(chosen);
      const targets = device.scratch('i32', [some.length]);
      const firstTokens = some.map(({ node }) => node.children.keys().next().value!);
      device.write(targets, Int32Array.from(firstTokens));
      const stats = statsBuffers(device, some.length);
      device.logitStats(logits, targets, 1, stats.numbers, stats.places);
      const branching = some.flatMap(({ node }, i) => (node.children.size === 1 ? [] : [device.rows(logits, i, 1)]));
      const [numbers, ...rows] = (await device.read([stats.numbers, ...branching])) as Float32Array[];
      checkLogitStats(numbers!);
      for (const [i, of] of some.entries()) {
        const stat = (index: number) => numbers![STAT_NUMBERS * i + index]!;
        if (of.node.children.size === 1) take(of, Float64Array.of(stat(STAT.targetLogProbability)));
        else take(of, childrenOf(of.node, rows.shift()!, stat(STAT.logSumExp)));
      }
    } finally {
      device.reset(mark);
    }
  }
}

/** The same from one row of logits. */
export function childrenOf(node: LabelNode, logits: Float32Array, logSumExp: number): Float64Array {
  return Float64Array.from(node.children.keys(), (token) => logits[token]! - logSumExp);
}
