/**
 * Making a model forget (`espalier/prune`): a reconstruction of ALTER (arXiv 2603.01792), whose authors published no code. `prune` is the whole job, in
 * this thread; beside it its parts: entropies of tokens, data and their sub-domains, the gate, the factors and their two phases.
 * docs/pruning.md has formulas and defaults.
 */

export {
  GATE_INPUTS,
  GATE_KINDS,
  GATE_WEIGHTS,
  type GateInput,
  type GateInputs,
  type GateKind,
  type GateOf,
  type GateShape,
  type GateSpec,
  type GateWeightName,
} from './checkpoint/adapter/gate-kinds.ts';
export { exportHydra, type HydraAdapter, type HydraMatrix, readHydra } from './checkpoint/adapter/hydra.ts';
export type { LoraPart } from './checkpoint/adapter/modules.ts';
export type { RoutedExpert } from './checkpoint/adapter/routed-config.ts';
export {
  exportRouted,
  type RoutedMatrix,
  readRouted,
  routedFiles,
  routerFiles,
  type WrittenRouted,
} from './checkpoint/adapter/routed-write.ts';
export { highestEntropy, ROUTING_RULE, type RoutingRule } from './checkpoint/adapter/routing.ts';
export { type DataSource, openTrainingData, TrainingData } from './datasets/training/data.ts';
export { SequenceEncoder } from './datasets/training/encode.ts';
export type { SequenceOptions, TrainingDataOptions } from './datasets/training/options.ts';
export { type ErrorCode, EspalierError } from './errors.ts';
export type { RelearnOptions, RelearnProgress } from './evaluate/robustness/options.ts';
export { type Relearned, type RelearnedSide, relearn } from './evaluate/robustness/relearn.ts';
export type { RelearnLook } from './evaluate/robustness/relearning.ts';
export { RoutedCache } from './model/routed/cache.ts';
export { RoutedDecoder, type Router } from './model/routed/decoder.ts';
export { type GateWeights, NULL_SLOT } from './model/routed/gate.ts';
export { coefficientsOf, type TokenRouting } from './model/routed/rule.ts';
export { type ExportedAdapter, type ExportOptions, exportAdapter } from './prune/adapter/export.ts';
export {
  AsymmetricFactors,
  type AsymmetricSpec,
  type FactorRole,
  forgetRole,
  TRAINED,
} from './prune/adapter/factors.ts';
export { meanCoefficients, type RoutedScorer } from './prune/adapter/mean-coefficients.ts';
export { type RollbackOptions, rollback, withoutRequest } from './prune/adapter/rollback.ts';
export { type Candidate, type ChoiceSource, type ChoiceTarget, distanceOf } from './prune/choice/choice.ts';
export { type ForgetRetain, type ForgetRetainOptions, openForgetRetain } from './prune/data/open.ts';
export { otherAnswers } from './prune/data/other-answers.ts';
export { findOverlaps, type Overlap, type Overlaps, type SameBy } from './prune/data/overlap.ts';
export {
  domainsOfColumn,
  type EmbeddingModel,
  type EmbedExamplesOptions,
  embedExamples,
} from './prune/domains/embed-examples.ts';
export { type SubDomainOptions, type SubDomains, subDomains, subDomainsOf } from './prune/domains/sub-domains.ts';
export {
  FORGET_MASKS,
  FORGET_OBJECTIVES,
  type ForgetMask,
  type ForgetObjective,
  forgetStep,
  type LossTokens,
  type PruneSequence,
  type PruneStep,
  retainStep,
  STRUCTURE_REGULARISERS,
  type StructureOptions,
  type StructureRegulariser,
  structureStep,
} from './prune/edit/batches.ts';
export { type GradientPenalty, gradientPenalty, type PenaltyOptions } from './prune/edit/gradient-penalty.ts';
export { type PruneSchedule, SCHEDULES, type TwoPhaseOptions } from './prune/edit/options.ts';
export { type PruneExamples, type PruneHooks, type PruneLook, TwoPhases } from './prune/edit/two-phases.ts';
export { UNLEARNING_METHODS, type UnlearningMethod, type UnlearningOptions } from './prune/edit/unlearn-options.ts';
export {
  type UnlearnedModel,
  Unlearning,
  type UnlearningExamples,
  type UnlearningHooks,
  type UnlearningLook,
} from './prune/edit/unlearning.ts';
export {
  type AuditedText,
  type AuditedToken,
  type AuditModel,
  type AuditOptions,
  type AuditSequence,
  auditEntropy,
  type EntropyAudit,
} from './prune/entropy/audit.ts';
export {
  type DataEntropies,
  type DataEntropyOptions,
  dataEntropies,
  type SequenceEntropies,
} from './prune/entropy/data-entropies.ts';
export { type Bimodality, distributionOf, type EntropyDistribution } from './prune/entropy/distribution.ts';
export { type AuditedRouting, expertsStatement } from './prune/entropy/experts.ts';
export type { EntropyOptions } from './prune/entropy/options.ts';
export { auditPage } from './prune/entropy/page.ts';
export { type EntropySplit, splitEntropies } from './prune/entropy/split.ts';
export { bimodalityStatement, splitStatement } from './prune/entropy/statement.ts';
export { memoryEntropyStore, openEntropyStore } from './prune/entropy/store.ts';
export {
  effectiveTokens,
  type RowEntropies,
  rowEntropies,
  tsallisEntropy,
} from './prune/entropy/tsallis.ts';
export { type FeatureOptions, gateExamples, type LabelledSequence } from './prune/gate/features.ts';
export { type GateValues, joinGates, withoutExperts } from './prune/gate/join-gates.ts';
export { type SoftRoutingOptions, softRoutingStep } from './prune/gate/soft-routing.ts';
export {
  type GateAccuracy,
  type GateExamples,
  type GateOptions,
  gateAccuracy,
  TrainableGate,
  trainGate,
} from './prune/gate/train-gate.ts';
export { prune } from './prune/job/job.ts';
export type { PruneMemory } from './prune/job/memory.ts';
export type { PrunePlan } from './prune/job/plan.ts';
export { type PlannedPruning, planPrune } from './prune/job/planned.ts';
export { answerLogProbabilities } from './prune/measure/answers.ts';
export {
  gradAscent,
  idkDpo,
  meanLoss,
  npo,
  type ReferredSums,
  RIVALS,
  type Sums,
  satImp,
  simNpo,
  type WeighedPairs,
  type Weighted,
  weightedAscent,
} from './prune/objective/rivals.ts';
export { type SequenceSums, sequenceSums, sequenceWeights } from './prune/objective/sequences.ts';
export type { PlanPruneOptions, PruneOptions, PruneProgress, PruneRecipe } from './prune/options.ts';
export {
  IsolationLedger,
  type IsolationOptions,
  type IsolationSubject,
  type RecordedStep,
} from './prune/proof/isolation.ts';
export { type SequenceSource, type StepKind, trainedBy } from './prune/proof/kinds.ts';
export type { IsolationReceipt, RestedSteps, RoleReceipt } from './prune/proof/receipt.ts';
export type { IsolationState, KindRecord, Moment, Violation } from './prune/proof/state.ts';
export { measuresOf } from './prune/report/measures.ts';
export { prunePage } from './prune/report/page.ts';
export type { PruneReport, ReportedLook, ReportedMeasure, ReportedSide, ReportedSides } from './prune/report/report.ts';
export type { PruneReceipt, SidesMeasured } from './prune/write/receipt.ts';
export { PRUNE_FILE } from './prune/write/receipt.ts';
export type { EntryStore } from './runtime/cache/entries.ts';
export { memoryOutput } from './runtime/output/memory.ts';
