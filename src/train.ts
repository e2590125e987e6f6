/** Training (`espalier/train`), in the calling thread with as many lanes as asked for. */

export type { FreezeStage } from './train/freeze.ts';
export { Order } from './train/order.ts';
export type { Schedule, ScheduleKind } from './train/schedule.ts';
export type { HeldOutSource, StepSource } from './train/sources.ts';
export type { MicroBatch, Parameter, PassLosses, PassOptions, Trainable } from './train/trainable.ts';
export {
  type HeldOutLoss,
  type StepReport,
  Trainer,
  type TrainerHooks,
  type TrainerSettings,
  type TrainingProgress,
} from './train/trainer.ts';
