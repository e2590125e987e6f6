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
 * As `npm run bench -- devices` has measured it: the least model of those that it tries from which on a real GPU was faster than the wasm device
 * with all lanes. One machine has been measured (docs/webgpu.md), and an engine that goes to a GPU by itself has not been tried on one: until then a GPU
 * is used only where it is asked for.
 */
export const CROSSOVER: Crossover = { answering: null, training: null };
