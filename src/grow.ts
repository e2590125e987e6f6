/**
 * Growing dense models into mixtures of experts (`espalier/grow`): SPRI (arXiv 2606.16456) and its baselines, in the calling thread with
 * as many lanes as asked for; `grow` of `espalier` is the same in a worker. Formulas, defaults and their sources stand with each option.
 */

export { type ErrorCode, EspalierError } from './errors.ts';
export { grow, type PlannedGrowth, planGrow, RECEIPT_FILE } from './grow/job.ts';
export type { GrowOptions, GrowProgress, PlanGrowOptions } from './grow/options.ts';
export type { Fit } from './grow/plan/fit.ts';
export type { GrowRecipe } from './grow/plan/options.ts';
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
} from './grow/types.ts';
export type { Deviation } from './grow/verify/compare.ts';
export type { CopiedRange } from './grow/write/copies.ts';
export type { ExpertSizes } from './grow/write/output-config.ts';
export type { Receipt } from './grow/write/receipt.ts';
export { memoryOutput } from './runtime/output/memory.ts';
export type { OutputFile, OutputFolder } from './runtime/output/output.ts';
