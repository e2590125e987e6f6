/**
 * Scores of texts and measures of unlearning (`espalier/scores`): BLEU and chrF as sacreBLEU computes them, ROUGE as rouge_score does, exact
 * match, perplexity, whether two systems differ; and the figures of TOFU and MUSE. Pure functions: they need no model and no worker.
 */

export { type ErrorCode, EspalierError } from './errors.ts';
export { type BleuScore, bleu, bleuMetric, sentenceBleu } from './evaluate/scores/bleu.ts';
export { chrf, chrfMetric, sentenceChrf } from './evaluate/scores/chrf.ts';
export { type Comparison, compareScores, type IntervalScore, scoreInterval } from './evaluate/scores/compare.ts';
export type { Metric, References, Score } from './evaluate/scores/corpus.ts';
export { exactMatch } from './evaluate/scores/exact-match.ts';
export type {
  BleuOptions,
  ChrfOptions,
  CompareOptions,
  ExactMatchOptions,
  RougeOptions,
  SamplingOptions,
  Smoothing,
} from './evaluate/scores/options.ts';
export { type Perplexity, perplexity, type TextLogProbability } from './evaluate/scores/perplexity.ts';
export type { Spread } from './evaluate/scores/resampling.ts';
export { type RougeScore, type RougeShares, rouge, sentenceRouge } from './evaluate/scores/rouge.ts';
export { BLEU_TOKENIZERS, type BleuTokenizer, tokenize } from './evaluate/scores/tokenizers.ts';
export { type Variety, variety } from './evaluate/unlearning/fluency.ts';
export { type KsTest, ksTest } from './evaluate/unlearning/ks-test.ts';
export {
  answerProbability,
  forgetQuality,
  modelUtility,
  normalisedProbability,
  truthRatio,
  truthRatioScore,
} from './evaluate/unlearning/measures.ts';
export { exactMemorisation, extractionStrength } from './evaluate/unlearning/memorisation.ts';
export { areaUnderCurve, minK, privLeak } from './evaluate/unlearning/privacy.ts';
