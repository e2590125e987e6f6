/**
 * Many-shot prompting that reuses cached examples (`espalier/show`): AdapShot (arXiv 2605.03644), in the calling thread; readers of public
 * data sets, templates, label tries, ranking by words, and the evaluation of them all. Formulas, defaults and their sources stand with each
 * option.
 */

export { AdapShot } from './adapshot/adapshot.ts';
export { Bm25, type Bm25Options, type Neighbour, vote } from './adapshot/bm25.ts';
export type { CalibrateOptions, CalibrationItem } from './adapshot/calibration.ts';
export { Chain, type ChainOptions } from './adapshot/chain.ts';
export { Chains, type ChainsOptions } from './adapshot/chains.ts';
export { clusterTexts } from './adapshot/clusters.ts';
export { type Continuation, type PlacedShots, type Placing, ShotContext } from './adapshot/context.ts';
export {
  DATA_FORMATS,
  type DataFormat,
  type DataPart,
  type Example,
  type Examples,
  type ParseDataOptions,
  parseData,
} from './adapshot/data.ts';
export { type DataFiles, type DataSource, readTask, type TaskData } from './adapshot/data-files.ts';
export { type ShotFields, shotIdentity } from './adapshot/identity.ts';
export {
  type LabelNode,
  type LabelPath,
  type LabelTokenizer,
  LabelTrie,
  type LabelTrieOptions,
} from './adapshot/labels.ts';
export type { AdapShotOptions } from './adapshot/options.ts';
export { ShotPool } from './adapshot/pool.ts';
export { poolOptionsOf, type ShowSettings } from './adapshot/presets.ts';
export { type Split, type SplitOptions, type SplitSources, splitExamples } from './adapshot/splits.ts';
export { memoryShotStore, openShotStore } from './adapshot/store.ts';
export type { StoredShot } from './adapshot/stored.ts';
export {
  namedTemplate,
  renderQuery,
  renderShot,
  TEMPLATES,
  type Template,
  type TemplateName,
  templateOf,
} from './adapshot/templates.ts';
export type * from './adapshot/types.ts';
export type { PooledUnit } from './adapshot/units.ts';
export { type EncodeShotsOptions, encodeShots } from './engine/show.ts';
export { type ErrorCode, EspalierError } from './errors.ts';
export { type Arm, type Attention, COUNTS, DEFAULT_ARMS, type FixedRanking, parseArms } from './evaluate/arms.ts';
export { type ArmFigures, type ArmReport, type ReportOptions, reportArms } from './evaluate/report.ts';
export { evaluate } from './evaluate/run.ts';
export {
  type EvaluateOptions,
  type EvaluationProgress,
  type Preparing,
  type Shard,
  shotsOf,
} from './evaluate/setting.ts';
export type { EvaluationRecord, ItemResult, SkippedArm } from './evaluate/types.ts';
