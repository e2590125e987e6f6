/**
 * Many-shot prompting that reuses cached examples (`espalier/show`): AdapShot (arXiv 2605.03644), in the calling thread; readers of public
 * data sets, templates, label tries, ranking by words, and the evaluation of them all. `ShotPool`, `Chain`, `Chains`, `Show` and `evaluate` of
 * `espalier` are the same in a worker. Formulas, defaults and their sources stand with each option.
 */

export {
  DATA_FORMATS,
  type DataFormat,
  type DataPart,
  type Example,
  type Examples,
  type ParseDataOptions,
  parseData,
} from './datasets/data.ts';
export { type DataFiles, type DataSource, readTask, type TaskData } from './datasets/files.ts';
export type { SplitOptions } from './datasets/options.ts';
export { type Split, type SplitSources, splitExamples } from './datasets/splits.ts';
export {
  namedTemplate,
  renderQuery,
  renderShot,
  TEMPLATES,
  type Template,
  type TemplateName,
  templateOf,
} from './datasets/templates.ts';
export { type EncodeShotsOptions, encodeShots } from './engine/show/encode-shots.ts';
export { type ErrorCode, EspalierError } from './errors.ts';
export { type Arm, type Attention, COUNTS, DEFAULT_ARMS, type FixedRanking, parseArms } from './evaluate/arms.ts';
export type { EvaluateOptions, EvaluationProgress, Preparing, ReportOptions, Shard } from './evaluate/options.ts';
export type { Evaluation, EvaluationSetting } from './evaluate/page/evaluation.ts';
export { evaluationMarkdown } from './evaluate/page/markdown.ts';
export { evaluationPage } from './evaluate/page/page.ts';
export { type ArmFigures, type ArmReport, reportArms } from './evaluate/report.ts';
export { evaluate } from './evaluate/run.ts';
export { shotsOf } from './evaluate/setting.ts';
export type { EvaluationRecord, ItemResult, SkippedArm, Tried } from './evaluate/types.ts';
export { Show } from './show/answer/answerer.ts';
export type { AskOptions, CalibrateOptions, ShowOptions } from './show/answer/options.ts';
export { poolOptionsOf, type ShowSettings } from './show/answer/presets.ts';
export type { CalibrationItem } from './show/answer/threshold.ts';
export { Chain } from './show/place/chain.ts';
export { Chains } from './show/place/chains.ts';
export { clusterTexts } from './show/place/clusters.ts';
export { type Continuation, type PlacedShots, type Placing, ShotContext } from './show/place/context.ts';
export type { ChainOptions, ChainsOptions, ContextOptions } from './show/place/options.ts';
export { type ShotFields, shotIdentity } from './show/pool/identity.ts';
export type { EncodeQueryOptions, GrowRule, PoolOptions } from './show/pool/options.ts';
export { ShotPool } from './show/pool/pool.ts';
export { memoryShotStore, openShotStore } from './show/pool/store.ts';
export type { StoredShot } from './show/pool/stored.ts';
export type { PooledUnit } from './show/pool/units.ts';
export {
  type LabelNode,
  type LabelPath,
  type LabelTokenizer,
  LabelTrie,
  type LabelTrieOptions,
} from './show/probe/labels.ts';
export { Bm25, type Bm25Options, type Neighbour, vote } from './show/rank/bm25.ts';
export type { RankMethod } from './show/rank/rankings.ts';
export type * from './show/types.ts';
