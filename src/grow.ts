/**
 * Growing dense models into mixtures of experts (`espalier/grow`): SPRI (arXiv 2606.16456) and its baselines, in the calling thread with
 * as many lanes as asked for; `upcycle` of `espalier` is the same in a worker. Formulas, defaults and their sources stand with each option.
 */

export { type ErrorCode, EspalierError } from './errors.ts';
export type { OutputFile, OutputFolder } from './runtime/output.ts';
export { memoryOutput } from './runtime/output-memory.ts';
export type { CopiedRange } from './spri/copies.ts';
export type { GrowOptions } from './spri/options.ts';
export type { ExpertSizes } from './spri/output-config.ts';
export type { Receipt } from './spri/receipt.ts';
export type { Fit } from './spri/targets.ts';
export type {
  GrowPlan,
  LayerChoice,
  LayerRecord,
  Method,
  Noise,
  OutputType,
  Partition,
  Projection,
  ProjectionRecord,
  RouterInit,
  TargetName,
  TrainPlan,
} from './spri/types.ts';
export {
  type PlanUpcycleOptions,
  planUpcycle,
  RECEIPT_FILE,
  type UpcycleOptions,
  type UpcyclePlan,
  type UpcycleProgress,
  upcycle,
} from './spri/upcycle.ts';
export type { Deviation } from './spri/verify.ts';
