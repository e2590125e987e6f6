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
import { type Ngrams, ngrams } from './ngrams.ts';
import { type ChrfOptions, chrfOptions } from './options.ts';
import { words } from './words.ts';

/**
 * chrF of a corpus (Popović 2015), with words chrF++ (Popović 2017), equal to sacreBLEU's.
 * @throws E_ARGUMENT
 */
export function chrf(
  hypotheses: readonly string[],
  references: References,
  options: ChrfOptions = {},
): Score & { readonly signature: string } {
  const metric = chrfMetric(options);
  const segments = segmentsOf(hypotheses, references);
  return { ...metric.score(summed(statisticsOf(metric, segments))), signature: signatureOf(metric, segments) };
}

/** chrF of one text against the reference that it is nearest to. @throws E_ARGUMENT */
export function sentenceChrf(hypothesis: string, references: readonly string[], options: ChrfOptions = {}): Score {
  const metric = chrfMetric(options);
  return metric.score(summed(statisticsOf(metric, [segmentOf(hypothesis, references)])));
}

/** Counts of a segment, of each order of characters and then of words: n-grams of hypothesis and of reference, and matches. @throws E_ARGUMENT */
export function chrfMetric(options: ChrfOptions = {}): Metric<Score> {
  const given = filled(chrfOptions, checked<ChrfOptions>(chrfOptions, options, 'chrf()'));
  const { charOrder, wordOrder, beta, lowercase, whitespace, epsSmoothing } = given;
  const name = `chrF${beta}${'+'.repeat(wordOrder)}`;
  const orders = (text: string) => ngramsOf(lowercase ? text.toLowerCase() : text, charOrder, wordOrder, whitespace);
  const f = (statistics: ArrayLike<number>) => fScore(statistics, beta, epsSmoothing);
  return {
    name,
    version: SACREBLEU,
    settings: [
      `case:${lowercase ? 'lc' : 'mixed'}`,
      `eff:${epsSmoothing ? 'no' : 'yes'}`,
      `nc:${charOrder}`,
      `nw:${wordOrder}`,
      `space:${whitespace ? 'yes' : 'no'}`,
    ],
    statistics: (hypothesis, references) => {
      const own = orders(hypothesis);
      const all = references.map((reference) => orders(reference).flatMap((ngrams, i) => counted(own[i]!, ngrams)));
      // of several alike the first
      return all.reduce((best, one) => (f(one) > f(best) ? one : best));
    },
    score: (statistics) => ({ name, score: f(statistics) }),
  };
}

/** n-grams of each order. */
function ngramsOf(text: string, charOrder: number, wordOrder: number, whitespace: boolean): Ngrams[] {
  const chars = Array.from(whitespace ? text : words(text).join(''));
  const parts = wordOrder > 0 ? partsOf(text) : [];
  return [
    ...Array.from({ length: charOrder }, (_, n) => ngrams(chars, n + 1)),
    ...Array.from({ length: wordOrder }, (_, n) => ngrams(parts, n + 1)),
  ];
}

const PUNCTUATION = new Set('!"#$%&\'()*+,-./:;<=>?@[\\]^_`{|}~');

/** Words, with one mark of punctuation at their end, or else at their beginning, apart: `(hi)` is `(hi` and `)`. */
function partsOf(text: string): string[] {
  return words(text).flatMap((word) => {
    const chars = Array.from(word);
    if (chars.length === 1) return [word];
    const last = chars.at(-1)!;
    if (PUNCTUATION.has(last)) return [word.slice(0, -1), last];
    return PUNCTUATION.has(chars[0]!) ? [chars[0]!, word.slice(1)] : [word];
  });
}

/** n-grams of a hypothesis that has a reference with some, those of the reference, and matches. */
function counted(hypothesis: Ngrams, reference: Ngrams): number[] {
  let [own, wanted, matches] = [0, 0, 0];
  for (const [ngram, count] of hypothesis) {
    own += count;
    matches += Math.min(count, reference.get(ngram) ?? 0);
  }
  for (const count of reference.values()) wanted += count;
  return [wanted > 0 ? own : 0, wanted, matches];
}

/** What stands for a share of nothing. */
const EPSILON = 1e-16;

/** F-beta, in percent: of precision and recall averaged over orders that occur, or with `smoothed` averaged over all orders. */
function fScore(statistics: ArrayLike<number>, beta: number, smoothed: boolean): number {
  const factor = beta ** 2;
  const orders = statistics.length / 3;
  let [sum, precision, recall, effective] = [0, 0, 0, 0];
  for (let n = 0; n < orders; n++) {
    const [own, wanted, matches] = [statistics[3 * n]!, statistics[3 * n + 1]!, statistics[3 * n + 2]!];
    const p = own > 0 ? matches / own : EPSILON;
    const r = wanted > 0 ? matches / wanted : EPSILON;
    const divisor = factor * p + r;
    sum += divisor > 0 ? ((1 + factor) * p * r) / divisor : EPSILON;
    if (own > 0 && wanted > 0) {
      precision += p;
      recall += r;
      effective++;
    }
  }
  if (smoothed) return (100 * sum) / orders;
  if (effective === 0 || precision + recall === 0) return 0;
  precision /= effective;
  recall /= effective;
  return (100 * (1 + factor) * precision * recall) / (factor * precision + recall);
}
