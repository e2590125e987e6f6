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
 * On an NVIDIA H200 beside 16 lanes of a Xeon answering was faster from 32.9 million parameters on, and training from 1.8 million, the least that was tried
 * (docs/webgpu.md; `npm run bench -- devices`).
 */
export const CROSSOVER: Crossover = { answering: 32_900_000, training: 1_800_000 };

/** A host, as far as it decides whether a GPU is looked for: its global object. */
export interface Host {
  readonly Deno?: unknown;
  readonly process?: { readonly versions?: { readonly node?: string } };
  readonly navigator?: { readonly gpu?: unknown };
}

/**
 * Whether a GPU that nobody asked for is looked for on this host. A look must not end a program: Deno 2.9 with Mesa's drivers ended with a segmentation fault
 * in four of nine runs in which a worker had looked for a GPU and not taken it. And a page without WebGPU has none.
 */
export function looksForGpu(host: Host = globalThis as Host): boolean {
  return !('Deno' in host) && Boolean(host.process?.versions?.node || host.navigator?.gpu);
}
