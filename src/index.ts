/** Espalier: adapt pretrained language models anywhere JavaScript runs. */

export type { QuantisedType } from './checkpoint/quantised/quantised-types.ts';
export type { Architecture, ModelConfig, RopeConfig, RopeScaling } from './checkpoint/types.ts';
export type { DeviceStats, Precision } from './device/device.ts';
export type { DeviceName } from './device/options.ts';
export { Engine } from './engine/engine.ts';
export { grow, planGrow } from './engine/grow/grow.ts';
export { merge } from './engine/grow/merge.ts';
export type { GrowOptions, MergeOptions, PlanGrowOptions } from './engine/grow/options.ts';
export type { Grown, MergedFiles } from './engine/grow/protocol.ts';
export { Generation } from './engine/model/generation.ts';
export { Model } from './engine/model/model.ts';
export { type Opening, type OpenOptions, open } from './engine/model/open.ts';
export type { EmbedInput, EngineStats } from './engine/model/protocol.ts';
export type { EngineOpenOptions, EngineOptions } from './engine/options.ts';
export type { PlanPruneOptions, PruneOptions } from './engine/prune/options.ts';
export type { Pruned } from './engine/prune/protocol.ts';
export { planPrune, prune } from './engine/prune/prune.ts';
export { Chain, Chains } from './engine/show/chains.ts';
export { evaluate } from './engine/show/evaluate.ts';
export type { OpenShowOptions } from './engine/show/opened.ts';
export type { EvaluateOptions, PoolOptions, ShowOptions } from './engine/show/options.ts';
export { type PoolStats, ShotPool } from './engine/show/pool.ts';
export { Show } from './engine/show/show.ts';
export type { PlanTrainOptions, RelearnOptions, TrainOptions } from './engine/train/options.ts';
export type { Trained } from './engine/train/protocol.ts';
export { relearn } from './engine/train/relearn.ts';
export { planTrain, train } from './engine/train/train.ts';
export { type ErrorCode, EspalierError } from './errors.ts';
export type { EvaluationProgress, Preparing } from './evaluate/options.ts';
export type { RelearnProgress } from './evaluate/robustness/options.ts';
export type { Relearned, RelearnedSide } from './evaluate/robustness/relearn.ts';
export type { RelearnLook } from './evaluate/robustness/relearning.ts';
export type { EvaluationRecord, ItemResult, SkippedArm } from './evaluate/types.ts';
export type { PlannedGrowth } from './grow/job.ts';
export type { GrowProgress } from './grow/options.ts';
export type { GrowRecipe } from './grow/plan/options.ts';
export type { Receipt } from './grow/write/receipt.ts';
export type { MergeProgress } from './merge/options.ts';
export type { AdapterChoice, WeightedAdapter } from './model/adapter-options.ts';
export type { AdapterFacts } from './model/adapters.ts';
export { type BatchItem, type BatchOptions, type BatchResult, GenerationBatch } from './model/generate/batch.ts';
export type { GeneratedToken, GenerationResult, Timings } from './model/generate/generation.ts';
export type { GenerateOptions, SamplingOptions } from './model/generate/options.ts';
export type { ScoredToken } from './model/model.ts';
export type { EmbedOptions, EncodePromptOptions, PromptOptions, ScoreOptions } from './model/options.ts';
export type { Prompt, TokenIds } from './model/prompt.ts';
export type { TokenRouting } from './model/routed/rule.ts';
export type { LikelyToken, ScoredPosition } from './model/score.ts';
export type { ChatContentPart, ChatMessage } from './model/text/chat.ts';
export type { ChatOptions, DecodeOptions } from './model/text/options.ts';
export type { Candidate, ChoiceSource } from './prune/choice/choice.ts';
export type { PrunePlan } from './prune/job/plan.ts';
export type { PruneProgress } from './prune/options.ts';
export type { PruneReceipt, SidesMeasured } from './prune/write/receipt.ts';
export { openCache } from './runtime/cache/default.ts';
export type { Cache, CacheEntry } from './runtime/cache/types.ts';
export type { ModelTarget } from './runtime/files/model-files.ts';
export type { DownloadProgress } from './runtime/hub/download-progress.ts';
export type { FilesOptions, HubOptions } from './runtime/hub/options.ts';
export type { AskOptions, CalibrateOptions } from './show/answer/options.ts';
export type { ShowSettings } from './show/answer/presets.ts';
export type { CalibrationItem } from './show/answer/threshold.ts';
export type { ChainOptions, ChainsOptions } from './show/place/options.ts';
export type {
  Answer,
  AnswerStream,
  Calibration,
  LikelyLabel,
  PoolProgress,
  Shot,
  ShowReceipt,
  WorkEstimate,
} from './show/types.ts';
export type { PlannedTraining } from './train/job.ts';
export type { TrainProgress } from './train/options.ts';
export type { MemoryPlan } from './train/plan/memory.ts';
export type { LoraRecipe, TrainRecipe } from './train/plan/recipe.ts';
export type { TrainReceipt } from './train/write/receipt.ts';
