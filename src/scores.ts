/**
 * Scores of texts and measures of unlearning (`espalier/scores`): BLEU and chrF as sacreBLEU computes them, ROUGE as rouge_score does, exact
 * match, perplexity, whether two systems differ; the figures of TOFU and MUSE, pure functions without a model; and what measures an open model.
 */

export type { QuantisedType } from './checkpoint/quantised/quantised-types.ts';
export { type DataSource, openTrainingData, TrainingData } from './datasets/training/data.ts';
export { type ErrorCode, EspalierError } from './errors.ts';
export { type AnswersMeasures, measureAnswers } from './evaluate/robustness/answers.ts';
export type { AnswersOptions } from './evaluate/robustness/options.ts';
export {
  measureQuantisation,
  type OpenedModel,
  type QuantisationData,
  type QuantisationMeasures,
  type QuantisationModels,
  type QuantisedAnswers,
} from './evaluate/robustness/quantisation.ts';
export { type BleuScore, bleu, bleuMetric, sentenceBleu } from './evaluate/scores/bleu.ts';
export { chrf, chrfMetric, sentenceChrf } from './evaluate/scores/chrf.ts';
export { type Comparison, compareScores, type IntervalScore, scoreInterval } from './evaluate/scores/compare.ts';
export type { Metric, References, Score } from './evaluate/scores/corpus.ts';
export { exactMatch } from './evaluate/scores/exact-match.ts';
export { lastNumber } from './evaluate/scores/last-number.ts';
export { isGraded, MEASURES, type Measure, scoreText } from './evaluate/scores/measures.ts';
export type {
  BleuOptions,
  ChrfOptions,
  CompareOptions,
  ExactMatchOptions,
  RougeMetricOptions,
  RougeOptions,
  SamplingOptions,
  Smoothing,
} from './evaluate/scores/options.ts';
export { type Perplexity, perplexity, type TextLogProbability } from './evaluate/scores/perplexity.ts';
export type { Spread } from './evaluate/scores/resampling.ts';
export { type RougeScore, type RougeShares, rouge, rougeMetric, sentenceRouge } from './evaluate/scores/rouge.ts';
export { BLEU_TOKENIZERS, type BleuTokenizer, tokenize } from './evaluate/scores/tokenizers.ts';
export type { MeasuredModel, Shot } from './evaluate/unlearning/asking.ts';
export {
  type ChoiceItem,
  type ChoiceMeasures,
  type ChoiceRow,
  type ChoiceScore,
  measureChoice,
  readChoices,
} from './evaluate/unlearning/choice.ts';
export { type Variety, variety } from './evaluate/unlearning/fluency.ts';
export { type KsTest, ksTest } from './evaluate/unlearning/ks-test.ts';
export {
  answerProbability,
  forgetQuality,
  modelUtility,
  normalisedProbability,
  similarityGap,
  truthRatio,
  truthRatioScore,
} from './evaluate/unlearning/measures.ts';
export { exactMemorisation, extractionStrength } from './evaluate/unlearning/memorisation.ts';
export { type MuseItem, type MuseMeasures, measureMuse, measurePrivacy } from './evaluate/unlearning/muse.ts';
export {
  type KnowMemData,
  type KnowMemRow,
  type MuseChoice,
  type MuseData,
  type PlacedText,
  type PrivacyData,
  readMuseFolder,
  type VerbMemRow,
} from './evaluate/unlearning/muse-folder.ts';
export type {
  AskingOptions,
  ChoiceOptions,
  FluencyOptions,
  MeasureProgress,
  MeasureRunOptions,
  MuseOptions,
  TofuOptions,
} from './evaluate/unlearning/options.ts';
export { areaUnderCurve, minK, privLeak } from './evaluate/unlearning/privacy.ts';
export { measureTofu, type TofuItem, type TofuMeasures, tofuUtility } from './evaluate/unlearning/tofu.ts';
export { readTofuSet, type TofuRow, type TofuSet } from './evaluate/unlearning/tofu-data.ts';
export { readTofuFolder, type TofuChoice, type TofuData } from './evaluate/unlearning/tofu-folder.ts';
export { readTofuLog, type TofuLog, type TofuReference, tofuForgetQuality } from './evaluate/unlearning/tofu-log.ts';
export { type Fluency, measureFluency, type WrittenAnswer } from './evaluate/unlearning/written-fluency.ts';
