import { checked, filled } from '../../options/check.ts';
import { mean } from '../statistics.ts';
import { type Metric, type References, type Score, segmentOf, segmentsOf } from './corpus.ts';
import { ngrams } from './ngrams.ts';
import { type RougeMetricOptions, type RougeOptions, rougeMetricOptions, rougeOptions } from './options.ts';
import { porterStem } from './porter.ts';

/** Shares from 0 to 1. */
export interface RougeShares {
  /** Of what the hypothesis has. */
  readonly precision: number;
  /** Of what the reference has. */
  readonly recall: number;
  /** 2 · precision · recall / (precision + recall). */
  readonly f1: number;
}

export interface RougeScore {
  /** Of words and of pairs of words. */
  readonly rouge1: RougeShares;
  readonly rouge2: RougeShares;
  /** Of the longest common subsequence of words. */
  readonly rougeL: RougeShares;
}

const KINDS = ['rouge1', 'rouge2', 'rougeL'] as const satisfies readonly (keyof RougeScore)[];
const SHARES = ['precision', 'recall', 'f1'] as const satisfies readonly (keyof RougeShares)[];

/**
 * ROUGE-1, ROUGE-2 and ROUGE-L (Lin 2004) of texts, equal to google's rouge_score 0.1.2: means over the hypotheses of what `sentenceRouge` gives.
 * @throws E_ARGUMENT
 */
export function rouge(hypotheses: readonly string[], references: References, options: RougeOptions = {}): RougeScore {
  const segments = segmentsOf(hypotheses, references);
  const scores = segments.map((one) => sentenceRouge(one.hypothesis, one.references, options));
  const meanOf = (kind: keyof RougeScore, share: keyof RougeShares) => mean(scores.map((score) => score[kind][share]));
  return each((kind) => shares((share) => meanOf(kind, share)));
}

/** ROUGE of one text, of each kind against the reference with the highest F1, of several alike the first. @throws E_ARGUMENT */
export function sentenceRouge(
  hypothesis: string,
  references: readonly string[],
  options: RougeOptions = {},
): RougeScore {
  const { stemmer } = filled(rougeOptions, checked<RougeOptions>(rougeOptions, options, 'rouge()'));
  const segment = segmentOf(hypothesis, references);
  const own = rougeTokens(hypothesis, stemmer);
  const scores = segment.references.map((reference) => scoreOf(own, rougeTokens(reference, stemmer)));
  return each((kind) => scores.map((score) => score[kind]).reduce((best, one) => (one.f1 > best.f1 ? one : best)));
}

/** One figure of ROUGE in percent, for intervals and tests of differences: counts of a segment are one and its share. @throws E_ARGUMENT */
export function rougeMetric(options: RougeMetricOptions = {}): Metric<Score> {
  const given = filled(rougeMetricOptions, checked<RougeMetricOptions>(rougeMetricOptions, options, 'rougeMetric()'));
  const { kind, share, stemmer } = given;
  const name = `ROUGE-${kind}`;
  return {
    name,
    settings: [`share:${share}`, `stem:${stemmer ? 'yes' : 'no'}`],
    version: 'rouge_score-0.1.2',
    statistics: (hypothesis, references) => [
      1,
      sentenceRouge(hypothesis, references, { stemmer })[`rouge${kind}`][share],
    ],
    score: ({ 0: count, 1: sum }) => ({ name, score: (100 * sum!) / count! }),
  };
}

/** Words of rouge_score: runs of a to z and 0 to 9 of the text in lower case, with `stemmer` stems of those of more than three letters. */
export function rougeTokens(text: string, stemmer: boolean): string[] {
  const words = text.toLowerCase().match(/[a-z0-9]+/g) ?? [];
  return stemmer ? words.map((word) => (word.length > 3 ? porterStem(word) : word)) : words;
}

function scoreOf(hypothesis: readonly string[], reference: readonly string[]): RougeScore {
  const ofNgrams = (n: number) => {
    const [own, wanted] = [ngrams(hypothesis, n), ngrams(reference, n)];
    let matches = 0;
    for (const [ngram, count] of wanted) matches += Math.min(count, own.get(ngram) ?? 0);
    return sharesOf(matches, hypothesis.length - n + 1, reference.length - n + 1);
  };
  return {
    rouge1: ofNgrams(1),
    rouge2: ofNgrams(2),
    rougeL: sharesOf(longestCommon(hypothesis, reference), hypothesis.length, reference.length),
  };
}

function sharesOf(matches: number, own: number, wanted: number): RougeShares {
  const precision = matches / Math.max(own, 1);
  const recall = matches / Math.max(wanted, 1);
  const sum = precision + recall;
  return { precision, recall, f1: sum > 0 ? (2 * precision * recall) / sum : 0 };
}

/** Length of the longest common subsequence. */
function longestCommon(a: readonly string[], b: readonly string[]): number {
  const row = new Uint32Array(b.length + 1);
  for (const word of a) {
    let diagonal = 0;
    for (let j = 1; j <= b.length; j++) {
      const above = row[j]!;
      row[j] = word === b[j - 1] ? diagonal + 1 : Math.max(above, row[j - 1]!);
      diagonal = above;
    }
  }
  return row[b.length]!;
}

const each = (of: (kind: keyof RougeScore) => RougeShares): RougeScore =>
  Object.fromEntries(KINDS.map((kind) => [kind, of(kind)])) as unknown as RougeScore;
const shares = (of: (share: keyof RougeShares) => number): RougeShares =>
  Object.fromEntries(SHARES.map((share) => [share, of(share)])) as unknown as RougeShares;
