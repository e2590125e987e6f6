import type { MicroBatch } from './trainable.ts';

/** What one step is made from. */
export interface TrainingStep {
  /** Their weights add up to 1. */
  readonly batches: readonly MicroBatch[];
  /** Rows of all of them, and those that have a target. */
  readonly tokens: number;
  readonly targets: number;
}

/** Steps in their order, the same each time. */
export interface StepSource {
  /** The next one. */
  next(signal?: AbortSignal): Promise<TrainingStep>;
  /** Where it stands: plain data. */
  readonly state: unknown;
  /** Goes on from there. */
  restore(state: unknown): void;
}

/**
 * Batches that are not trained on, the same each time. Their weights count target tokens in any unit: the loss is
 * Σ weights · cross-entropy / Σ weights.
 */
export interface HeldOutSource {
  batches(): AsyncIterable<MicroBatch>;
}
