/** Options of scores; names and defaults are those of sacreBLEU and rouge_score. */
import { defaulting, oneOf, real, type Schema, signal, truth, whole } from '../../options/rules.ts';
import { BLEU_TOKENIZERS, type BleuTokenizer } from './tokenizers.ts';

export const SMOOTHINGS = ['exp', 'floor', 'add-k', 'none'] as const;
/** What becomes of an n-gram order without a match (Chen and Cherry 2014): `exp` halves again and again, `floor` counts a little, `add-k` adds to all orders but the first. */
export type Smoothing = (typeof SMOOTHINGS)[number];

export interface BleuOptions {
  /** Default `13a`; for Chinese `zh`, for Japanese and Thai `char`. */
  readonly tokenize?: BleuTokenizer;
  /** Whether case makes no difference. Default false. */
  readonly lowercase?: boolean;
  /** Default `exp`. */
  readonly smoothing?: Smoothing;
  /** Of `floor` and `add-k`. Default 0.1 and 1. */
  readonly smoothingValue?: number;
  /** Longest n-grams. Default 4. */
  readonly maxOrder?: number;
  /** Whether orders that a short text cannot have are left out. Default false, of `sentenceBleu` true. */
  readonly effectiveOrder?: boolean;
}

export const bleuOptions = {
  tokenize: defaulting(oneOf(...BLEU_TOKENIZERS), '13a'),
  lowercase: defaulting(truth, false),
  smoothing: defaulting(oneOf(...SMOOTHINGS), 'exp'),
  smoothingValue: real(0),
  maxOrder: defaulting(whole(1, 16), 4),
  effectiveOrder: defaulting(truth, false),
} as const satisfies Schema<BleuOptions>;

export interface ChrfOptions {
  /** Longest n-grams of characters. Default 6. */
  readonly charOrder?: number;
  /** Longest n-grams of words. Default 0: chrF; 2: chrF++. */
  readonly wordOrder?: number;
  /** How much recall counts beside precision. Default 2. */
  readonly beta?: number;
  /** Whether case makes no difference. Default false. */
  readonly lowercase?: boolean;
  /** Whether spaces count as characters. Default false. */
  readonly whitespace?: boolean;
  /** Smoothing as in chrF++.py, NLTK and Moses, in place of leaving out orders that do not occur. Default false. */
  readonly epsSmoothing?: boolean;
}

export const chrfOptions = {
  charOrder: defaulting(whole(1, 16), 6),
  wordOrder: defaulting(whole(0, 16), 0),
  beta: defaulting(whole(1, 100), 2),
  lowercase: defaulting(truth, false),
  whitespace: defaulting(truth, false),
  epsSmoothing: defaulting(truth, false),
} as const satisfies Schema<ChrfOptions>;

export interface SamplingOptions {
  /** Resamples of a bootstrap, or trials of a randomisation. Default 1000 and 10000. */
  readonly samples?: number;
  /** An integer from 0. Default 0. */
  readonly seed?: number;
  readonly signal?: AbortSignal;
}

export interface CompareOptions extends SamplingOptions {
  /** `bootstrap` (Koehn 2004), or approximate `randomisation` (Riezler and Maxwell 2005). Default `bootstrap`. */
  readonly test?: 'bootstrap' | 'randomisation';
}

export const samplingOptions = {
  samples: whole(40, 1e6),
  seed: defaulting(whole(0), 0),
  signal,
} as const satisfies Schema<SamplingOptions>;

export const compareOptions = {
  test: defaulting(oneOf('bootstrap', 'randomisation'), 'bootstrap'),
  ...samplingOptions,
} as const satisfies Schema<CompareOptions>;

export interface ExactMatchOptions {
  /** Whether case makes no difference. Default false. */
  readonly lowercase?: boolean;
}

export const exactMatchOptions = {
  lowercase: defaulting(truth, false),
} as const satisfies Schema<ExactMatchOptions>;

export interface RougeOptions {
  /** Whether words of more than three letters are stemmed: Porter's stemmer, as NLTK has it. English. Default false. */
  readonly stemmer?: boolean;
}

export const rougeOptions = {
  stemmer: defaulting(truth, false),
} as const satisfies Schema<RougeOptions>;

export interface RougeMetricOptions extends RougeOptions {
  /** `1` (words), `2` (pairs of words) or `L` (the longest common subsequence). Default `L`. */
  readonly kind?: '1' | '2' | 'L';
  /** Which figure. Default `f1`. */
  readonly share?: 'precision' | 'recall' | 'f1';
}

export const rougeMetricOptions = {
  kind: defaulting(oneOf('1', '2', 'L'), 'L'),
  share: defaulting(oneOf('precision', 'recall', 'f1'), 'f1'),
  ...rougeOptions,
} as const satisfies Schema<RougeMetricOptions>;
