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
 * Not settled: on an NVIDIA H200 beside 16 lanes of a Xeon answering was faster from 32.9 million parameters on, and training from 1.8 million on (docs/webgpu.md).
 * But a look for a GPU that nobody asked for must not end a program, and Deno 2 with Mesa's drivers ended with a segmentation fault in four of nine runs in
 * which a worker had looked for one and not taken it. Until that is kept from happening a GPU is used only where it is asked for.
 */
export const CROSSOVER: Crossover = { answering: null, training: null };
