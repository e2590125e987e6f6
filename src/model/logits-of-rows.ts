import { STAT, STAT_NUMBERS, type Tensor } from '../device/device.ts';
import type { Decoder } from './decoder.ts';
import { checkLogitStats } from './finite.ts';
import { statsBuffers } from './logit-stats.ts';

/** Rows of logits that exist at once. */
const ROWS = 16;

/** Logits of some rows of hidden states, one by one, with their log-sum-exp. The array is the callback's own. */
export async function eachLogits(
  decoder: Decoder,
  hidden: Tensor,
  rows: readonly number[],
  take: (index: number, logits: Float32Array, logSumExp: number) => void,
): Promise<void> {
  const { device, config } = decoder;
  const { hiddenSize, vocabSize } = config;
  for (let first = 0; first < rows.length; first += ROWS) {
    const some = rows.slice(first, first + ROWS);
    const mark = device.mark();
    const chosen = device.scratch('f32', [some.length, hiddenSize]);
    for (const [i, row] of some.entries()) device.copyRows(device.rows(hidden, row, 1), chosen, i);
    const logits = decoder.logits(chosen);
    const stats = statsBuffers(device, some.length);
    device.logitStats(logits, null, 1, stats.numbers, stats.places);
    const [values, numbers] = (await device.read([logits, stats.numbers])) as Float32Array[];
    device.reset(mark);
    checkLogitStats(numbers!);
    for (const i of some.keys()) {
      take(first + i, values!.slice(i * vocabSize, (i + 1) * vocabSize), numbers![STAT_NUMBERS * i + STAT.logSumExp]!);
    }
  }
}
