import { checked, filled } from '../../options/check.ts';
import {
  type Metric,
  type References,
  SACREBLEU,
  type Score,
  segmentOf,
  segmentsOf,
  signatureOf,
  statisticsOf,
  summed,
} from './corpus.ts';
import { ngrams } from './ngrams.ts';
import { type BleuOptions, bleuOptions } from './options.ts';
import { tokenize } from './tokenizers.ts';
import { trimmedEnd } from './words.ts';

export interface BleuScore extends Score {
  /** Matches and n-grams of each order, from 1 on; with `add-k` with what was added. */
  readonly counts: readonly number[];
  readonly totals: readonly number[];
  /** In percent. */
  readonly precisions: readonly number[];
  readonly brevityPenalty: number;
  readonly hypothesisLength: number;
  readonly referenceLength: number;
}

/**
 * BLEU of a corpus (Papineni et al. 2002), equal to sacreBLEU's (Post 2018).
 * @throws E_ARGUMENT
 */
export function bleu(
  hypotheses: readonly string[],
  references: References,
  options: BleuOptions = {},
): BleuScore & { readonly signature: string } {
  const metric = bleuMetric(options);
  const segments = segmentsOf(hypotheses, references);
  return { ...metric.score(summed(statisticsOf(metric, segments))), signature: signatureOf(metric, segments) };
}

/** BLEU of one text against its references; orders that it is too short for are left out unless `effectiveOrder` is false. @throws E_ARGUMENT */
export function sentenceBleu(hypothesis: string, references: readonly string[], options: BleuOptions = {}): BleuScore {
  const metric = bleuMetric({ effectiveOrder: true, ...options });
  return metric.score(summed(statisticsOf(metric, [segmentOf(hypothesis, references)])));
}

/** Counts of a segment: length, length of the nearest reference, matches of each order, n-grams of each order. @throws E_ARGUMENT */
export function bleuMetric(options: BleuOptions = {}): Metric<BleuScore> {
  const given = filled(bleuOptions, checked<BleuOptions>(bleuOptions, options, 'bleu()'));
  const { maxOrder, smoothing, effectiveOrder, lowercase } = given;
  const value = given.smoothingValue ?? (smoothing === 'floor' ? 0.1 : smoothing === 'add-k' ? 1 : 0);
  const tokens = (text: string) => tokenize(given.tokenize, trimmedEnd(lowercase ? text.toLowerCase() : text));
  const hasValue = smoothing === 'floor' || smoothing === 'add-k';
  return {
    name: 'BLEU',
    version: SACREBLEU,
    settings: [
      `case:${lowercase ? 'lc' : 'mixed'}`,
      `eff:${effectiveOrder ? 'yes' : 'no'}`,
      `tok:${given.tokenize}`,
      `smooth:${smoothing}${hasValue ? `[${value.toFixed(2)}]` : ''}`,
    ],
    statistics: (hypothesis, references) => segmentCounts(tokens(hypothesis), references.map(tokens), maxOrder),
    score: (statistics) => scoreOf(statistics, { maxOrder, smoothing, value, effectiveOrder }),
  };
}

function segmentCounts(
  hypothesis: readonly string[],
  references: readonly (readonly string[])[],
  maxOrder: number,
): number[] {
  const orders = Array.from({ length: maxOrder }, (_, n) => {
    const wanted = new Map<string, number>();
    for (const reference of references) {
      for (const [ngram, count] of ngrams(reference, n + 1)) {
        wanted.set(ngram, Math.max(wanted.get(ngram) ?? 0, count));
      }
    }
    let [matches, total] = [0, 0];
    for (const [ngram, count] of ngrams(hypothesis, n + 1)) {
      total += count;
      matches += Math.min(count, wanted.get(ngram) ?? 0);
    }
    return [matches, total] as const;
  });
  const lengths = references.map((reference) => reference.length);
  const correct = orders.map(([matches]) => matches);
  const total = orders.map(([, count]) => count);
  return [hypothesis.length, nearest(hypothesis.length, lengths), ...correct, ...total];
}

/** The nearest of lengths, of two the smaller. */
function nearest(length: number, lengths: readonly number[]): number {
  return lengths.reduce((best, one) => {
    const [far, near] = [Math.abs(length - best), Math.abs(length - one)];
    return near < far || (near === far && one < best) ? one : best;
  });
}

interface Scoring {
  readonly maxOrder: number;
  readonly smoothing: NonNullable<BleuOptions['smoothing']>;
  readonly value: number;
  readonly effectiveOrder: boolean;
}

/** In the order of sacreBLEU's `compute_bleu`. */
function scoreOf(statistics: ArrayLike<number>, { maxOrder, smoothing, value, effectiveOrder }: Scoring): BleuScore {
  const hypothesisLength = statistics[0]!;
  const referenceLength = statistics[1]!;
  const counts = Array.from({ length: maxOrder }, (_, n) => statistics[2 + n]!);
  const totals = Array.from({ length: maxOrder }, (_, n) => statistics[2 + maxOrder + n]!);
  const precisions = new Array<number>(maxOrder).fill(0);
  let brevityPenalty = 1;
  if (hypothesisLength < referenceLength) {
    brevityPenalty = hypothesisLength > 0 ? Math.exp(1 - referenceLength / hypothesisLength) : 0;
  }
  const made = { name: 'BLEU', counts, totals, precisions, brevityPenalty, hypothesisLength, referenceLength };
  if (counts.every((count) => count === 0)) return { ...made, score: 0 };
  let halved = 1;
  let orders = maxOrder;
  for (let n = 0; n < maxOrder; n++) {
    if (smoothing === 'add-k' && n > 0) {
      counts[n]! += value;
      totals[n]! += value;
    }
    if (totals[n] === 0) break;
    if (effectiveOrder) orders = n + 1;
    if (counts[n]! > 0) precisions[n] = (100 * counts[n]!) / totals[n]!;
    else if (smoothing === 'exp') precisions[n] = 100 / ((halved *= 2) * totals[n]!);
    else if (smoothing === 'floor') precisions[n] = (100 * value) / totals[n]!;
  }
  const logs = precisions
    .slice(0, orders)
    .map((precision) => (precision === 0 ? Number.NEGATIVE_INFINITY : Math.log(precision)));
  return { ...made, score: brevityPenalty * Math.exp(logs.reduce((sum, log) => sum + log, 0) / orders) };
}
