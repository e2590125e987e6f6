import { STAT, STAT_NUMBERS, STAT_PLACE, STAT_PLACES } from '../device/device.ts';
import { exclusive } from '../device/exclusive.ts';
import { EspalierError } from '../errors.ts';
import type { Decoder } from './decoder.ts';
import { checkLogitStats } from './finite.ts';
import { statsBuffers } from './logit-stats.ts';
import type { ScoreOptions } from './options.ts';

export interface ScoredPosition {
  readonly id: number;
  /** Natural log of this token's probability after those before it; null for the first, which nothing predicts. */
  readonly logprob: number | null;
  /** Shannon entropy, in nats, of the model's prediction of the token after this one. */
  readonly entropy: number;
  /** Tsallis entropy of the same prediction, when asked for. */
  readonly tsallis: number | null;
  /** The likeliest token after this one. */
  readonly argmax: number;
}

/** Rows of logits that exist at once. */
const ROWS = 32;

/**
 * Log-probability and entropy at every position of a text, from one forward pass; logits are never read back.
 * @throws E_ARGUMENT, E_CONTEXT_LENGTH, E_ABORTED, E_OUT_OF_MEMORY, E_TENSOR_VALUE for logits that are not finite
 */
export function scoreTokens(
  decoder: Decoder,
  ids: readonly number[],
  options: ScoreOptions = {},
): Promise<ScoredPosition[]> {
  const order = options.tsallisOrder ?? 1;
  if (ids.length === 0) throw new EspalierError('E_ARGUMENT', 'There is no token to score.', 'Give a text.');
  decoder.checkHead();
  const { device } = decoder;
  return exclusive(device, async () => {
    const cache = decoder.cache();
    const scored: ScoredPosition[] = [];
    let nextLogprob: number | null = null;
    try {
      await decoder.forward(ids, cache, {
        signal: options.signal,
        onProgress: options.onProgress,
        onChunk: async (hidden, firstRow) => {
          const rows = hidden.shape[0]!;
          const stats = statsBuffers(device, rows);
          const targets = device.scratch('i32', [rows, 1]);
          device.write(
            targets,
            Int32Array.from({ length: rows }, (_, i) => ids[firstRow + i + 1] ?? -1),
          );
          for (let first = 0; first < rows; first += ROWS) {
            const count = Math.min(ROWS, rows - first);
            const mark = device.mark();
            const logits = decoder.logits(device.rows(hidden, first, count));
            const some = device.rows(targets, first, count);
            const [to, placesTo] = [stats.numbers, stats.places].map((t) => device.rows(t, first, count));
            device.logitStats(logits, some, order, to!, placesTo!);
            device.reset(mark);
          }
          const [numbers, places] = (await device.read([stats.numbers, stats.places])) as [Float32Array, Int32Array];
          checkLogitStats(numbers);
          for (let i = 0; i < rows; i++) {
            const at = STAT_NUMBERS * i;
            const before = firstRow + i === 0 ? null : nextLogprob;
            scored.push({
              id: ids[firstRow + i]!,
              logprob: before,
              entropy: numbers[at + STAT.shannon]!,
              tsallis: order === 1 ? null : numbers[at + STAT.tsallis]!,
              argmax: places[STAT_PLACES * i + STAT_PLACE.argmax]!,
            });
            nextLogprob = numbers[at + STAT.targetLogProbability]!;
          }
        },
      });
      return scored;
    } finally {
      cache.dispose();
    }
  });
}
