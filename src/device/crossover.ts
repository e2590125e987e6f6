/** From which size on a GPU is faster than the CPU. */

/** Texts that are written and scored, or weights that learn. */
export type Task = 'answering' | 'training';

/** What is to be computed, as far as it decides where. */
export interface Work {
  readonly task: Task;
  /** Of the model. */
  readonly parameters: number;
}

/** Parameters from which on a GPU is faster, by task; null: nobody has found out. */
export type Crossover = Readonly<Record<Task, number | null>>;

/**
 * As `npm run bench -- devices` has measured it on an NVIDIA H200 beside 16 lanes of a Xeon (docs/webgpu.md): of the models that it tries the least from which
 * on the GPU was faster at prompts and at decoding, in both of two runs; and the least of all, with which it trained several times as fast.
 */
export const CROSSOVER: Crossover = { answering: 32_900_000, training: 1_800_000 };
