import { STAT, STAT_NUMBERS, STAT_PLACE, STAT_PLACES, type Tensor } from '../device/device.ts';
import { exclusive } from '../device/exclusive.ts';
import { EspalierError } from '../errors.ts';
import { defined } from '../options/defined.ts';
import type { Decoder } from './decoder.ts';
import { checkLogitStats } from './finite.ts';
import { statsBuffers } from './logit-stats.ts';
import type { ScoreOptions } from './options.ts';
import type { TokenRouting } from './routed/rule.ts';

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
  /** The likeliest ones, the likeliest first, as many as were asked for; null without `top`. */
  readonly top: readonly LikelyToken[] | null;
  /**
   * How experts of an adapter were chosen here, where the token is read and the next one predicted. Only with `routing`, and of a model that
   * has such experts.
   */
  readonly routing?: TokenRouting;
}

export interface LikelyToken {
  readonly id: number;
  /** Natural log of its probability. */
  readonly logprob: number;
}

/**
 * Log-probability and entropy at every position of a text, from one forward pass; logits are never read back.
 * @throws E_ARGUMENT, E_CONTEXT_LENGTH, E_ABORTED, E_OUT_OF_MEMORY, E_TENSOR_VALUE for logits that are not finite
 */
export function scoreTokens(
  decoder: Decoder,
  ids: readonly number[],
  options: ScoreOptions = {},
): Promise<ScoredPosition[]> {
  if (ids.length === 0) throw new EspalierError('E_ARGUMENT', 'There is no token to score.', 'Give a text.');
  decoder.checkHead();
  return exclusive(decoder.device, async () => {
    const cache = decoder.cache();
    const scores: RowScore[] = [];
    const choices: TokenRouting[] = [];
    try {
      await decoder.forward(ids, cache, {
        signal: options.signal,
        onProgress: options.onProgress,
        onRouting: options.routing ? (list) => void choices.push(...list) : undefined,
        onChunk: async (hidden, firstRow) => {
          const rows = hidden.shape[0]!;
          const targets = Array.from({ length: rows }, (_, i) => ids[firstRow + i + 1] ?? -1);
          const most = decoder.scoredRows;
          const slices = Array.from({ length: Math.ceil(rows / most) }, (_, i) => Math.min(most, rows - i * most));
          scores.push(...(await scoreRows(decoder, hidden, targets, slices, options)));
        },
      });
      return positionsOf(ids, scores, choices);
    } finally {
      cache.dispose();
    }
  });
}

/** What one row of logits says. */
export interface RowScore extends Pick<ScoredPosition, 'entropy' | 'tsallis' | 'argmax' | 'top'> {
  /** Of its target, natural; 0 where there is none. */
  readonly next: number;
}

/** @param targets of each row, below 0: none @param slices rows whose logits stand together */
export async function scoreRows(
  decoder: Decoder,
  hidden: Tensor,
  targets: readonly number[],
  slices: readonly number[],
  { tsallisOrder: order = 1, top: wantedTop = 0 }: ScoreOptions,
): Promise<RowScore[]> {
  const { device } = decoder;
  const rows = targets.length;
  const k = Math.min(wantedTop, decoder.config.vocabSize);
  const stats = statsBuffers(device, rows);
  const wanted = device.scratch('i32', [rows, 1]);
  device.write(wanted, Int32Array.from(targets));
  const likely = k === 0 ? [] : Array.from(targets, () => [device.scratch('f32', [k]), device.scratch('i32', [k])]);
  let first = 0;
  for (const count of slices) {
    const mark = device.mark();
    const logits = decoder.logits(device.rows(hidden, first, count));
    const [some, numbers, places] = [wanted, stats.numbers, stats.places].map((t) => device.rows(t, first, count));
    device.logitStats(logits, some!, order, numbers!, places!);
    for (const [i, [values, ids]] of likely.slice(first, first + count).entries()) {
      device.topK(count === 1 ? logits : device.rows(logits, i, 1), k, values!, ids!);
    }
    device.reset(mark);
    first += count;
  }
  const got = await device.read([stats.numbers, stats.places, ...likely.flat()]);
  const [numbers, places] = got as [Float32Array, Int32Array];
  checkLogitStats(numbers);
  const topOf = (row: number): LikelyToken[] => {
    const [logits, ids] = got.slice(2 + 2 * row, 4 + 2 * row) as [Float32Array, Int32Array];
    const all = numbers[STAT_NUMBERS * row + STAT.logSumExp]!;
    return Array.from(ids, (id, j) => ({ id, logprob: logits[j]! - all }));
  };
  return Array.from({ length: rows }, (_, i) => {
    const at = STAT_NUMBERS * i;
    return {
      entropy: numbers[at + STAT.shannon]!,
      tsallis: order === 1 ? null : numbers[at + STAT.tsallis]!,
      argmax: places[STAT_PLACES * i + STAT_PLACE.argmax]!,
      top: k === 0 ? null : topOf(i),
      next: numbers[at + STAT.targetLogProbability]!,
    };
  });
}

/** @param choices by row, or none */
export function positionsOf(
  ids: readonly number[],
  scores: readonly RowScore[],
  choices: readonly TokenRouting[],
): ScoredPosition[] {
  return scores.map(({ entropy, tsallis, argmax, top }, i) => {
    const logprob = i === 0 ? null : scores[i - 1]!.next;
    return { id: ids[i]!, logprob, entropy, tsallis, argmax, top, ...defined({ routing: choices[i] }) };
  });
}
