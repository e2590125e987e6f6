import type { MicroBatch } from './trainable.ts';

/**
 * The batches of every step, by its number alone: a training that goes on needs to remember nothing but where it was. Weights of the batches
 * of one step add up to 1.
 */
export interface StepSource {
  batches(step: number): Promise<readonly MicroBatch[]>;
}

/** Batches that are not trained on, the same each time. Weights count target tokens in any unit: the loss is Σ weights · cross-entropy / Σ weights. */
export interface HeldOutSource {
  batches(): AsyncIterable<MicroBatch>;
}
