import { highestEntropy, type RoutingRule } from '../../checkpoint/adapter/routing.ts';
import { type Precision, STAT, STAT_NUMBERS, type Tensor } from '../../device/device.ts';
import type { Decoder } from '../decoder.ts';
import { MOST_LOGITS, statsBuffers } from '../logit-stats.ts';

/** Rows before a token's own whose entropy counts for it. */
const BEHIND: Readonly<Record<RoutingRule['alignment'], number>> = { predictive: 0, lagged: 1 };

/**
 * Tsallis entropies of what a decoder predicts from some of its hidden states, blocks of logits one after the other.
 * @param hidden [T, hidden] behind the last norm
 * @returns [T]
 */
export async function predictionEntropies(
  decoder: Decoder,
  hidden: Tensor,
  order: number,
  precision?: Precision,
): Promise<Float32Array> {
  const { device } = decoder;
  const t = hidden.shape[0]!;
  const entropies = new Float32Array(t);
  const { vocabSize } = decoder.config;
  const most = device.asynchronous ? decoder.scoredRows : Math.max(1, Math.floor(MOST_LOGITS / vocabSize));
  for (let first = 0; first < t; first += most) {
    const count = Math.min(most, t - first);
    const mark = device.mark();
    const logits = decoder.logits(device.rows(hidden, first, count), precision, count === 1);
    const { numbers, places } = statsBuffers(device, count);
    device.logitStats(logits, null, order, numbers, places);
    const read = (await device.read(numbers)) as Float32Array;
    for (let i = 0; i < count; i++) entropies[first + i] = read[i * STAT_NUMBERS + STAT.tsallis]!;
    device.reset(mark);
  }
  return entropies;
}

/**
 * The entropy that counts at a row of a text, by the rule's alignment; null for the first where that is `lagged`: what it came from nobody knows.
 * @param entropies of the predictions behind each row of the text
 */
export function alignedEntropy(
  { alignment }: Pick<RoutingRule, 'alignment'>,
  entropies: ArrayLike<number>,
  row: number,
): number | null {
  const at = row - BEHIND[alignment];
  return at < 0 ? null : entropies[at]!;
}

/** What counts where nobody knows the entropy: as uncertain as can be. */
export function unknownEntropy({ order }: Pick<RoutingRule, 'order'>, vocabSize: number): number {
  return highestEntropy(order, vocabSize);
}
