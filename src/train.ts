/** Training (`espalier/train`), in the calling thread with as many lanes as asked for. */

export { type DataSource, openTrainingData, TrainingData } from './datasets/training/data.ts';
export { SequenceEncoder } from './datasets/training/encode.ts';
export type { SequenceOptions, TrainingDataOptions } from './datasets/training/options.ts';
export { checkLengths, SequenceStream, type StreamOptions, type StreamState } from './datasets/training/stream.ts';
export {
  type ChatExample,
  type PairExample,
  type PlacedExample,
  type SequenceModel,
  type TextExample,
  TRAINING_FORMATS,
  type TrainingColumn,
  type TrainingExample,
  type TrainingFormat,
  type TrainingSequence,
} from './datasets/training/types.ts';
export { type ErrorCode, EspalierError } from './errors.ts';
export { memoryOutput } from './runtime/output/memory.ts';
export { DataHeldOut, DataSteps } from './train/data-steps.ts';
export { DecoderReference } from './train/decoder-reference.ts';
export { DecoderTrainable, type DecoderTrainableOptions } from './train/decoder-trainable.ts';
export type { FreezeStage } from './train/freeze.ts';
export { type PlannedTraining, planTrain, train } from './train/job.ts';
export type { PlanTrainOptions, TrainOptions, TrainProgress } from './train/options.ts';
export { type PackedStep, packStep } from './train/packing.ts';
export type { MemoryPlan } from './train/plan/memory.ts';
export type { LoraRecipe, ResolvedPlan, TrainPlan, TrainRecipe } from './train/plan/recipe.ts';
export type { DataFacts } from './train/prepare.ts';
export { type LayerRouting, RouterStatistics } from './train/router-statistics.ts';
export type { Schedule, ScheduleKind } from './train/schedule.ts';
export type { HeldOutSource, StepSource, TrainingStep } from './train/sources.ts';
export type { Identity, SavedState } from './train/state/description.ts';
export { trainingProgress } from './train/state/progress.ts';
export { checkIdentity, States } from './train/state/states.ts';
export type {
  DistillationRows,
  InvarianceRows,
  MicroBatch,
  Parameter,
  PassLosses,
  PassOptions,
  Trainable,
} from './train/trainable.ts';
export {
  type HeldOutLoss,
  type StepReport,
  Trainer,
  type TrainerHooks,
  type TrainerSettings,
  type TrainingProgress,
} from './train/trainer.ts';
export { TRAINING_FILE, type TrainReceipt } from './train/write/receipt.ts';
