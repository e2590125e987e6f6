/** What `device: 'auto'` is. */
import { loadGpu } from './webgpu/load.ts';

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

export interface Choice {
  readonly device: 'wasm' | 'webgpu';
  /** One sentence. */
  readonly why: string;
}

/** By what is known of the adapter, or null where there is none. */
export function choose(
  { task, parameters }: Work,
  adapter: { readonly fallback: boolean } | null,
  crossover: Crossover = CROSSOVER,
): Choice {
  const least = crossover[task];
  const wasm = (why: string): Choice => ({ device: 'wasm', why });
  if (adapter === null) return wasm('There is no GPU that WebGPU can use here.');
  if (adapter.fallback) return wasm('The GPU is a program on the CPU, and slower than the wasm device.');
  if (least === null) return wasm('It is not settled yet from which size on a GPU is faster.');
  const million = (count: number): string => `${Number((count / 1e6).toPrecision(3))} million`;
  const sizes = `a model of ${million(parameters)} parameters, and a GPU is faster at ${task} from ${million(least)} on`;
  if (parameters < least) return wasm(`It is ${sizes}.`);
  return { device: 'webgpu', why: `It is ${sizes}.` };
}

/** What `auto` is on a machine, whatever the model. */
export interface Outlook {
  /** Parameters of the least model that goes to the GPU; null: none does. */
  readonly gpuFrom: number | null;
  /** One sentence. */
  readonly why: string;
}

export function outlook(task: Task, adapter: Parameters<typeof choose>[1], crossover: Crossover = CROSSOVER): Outlook {
  const gpuFrom = crossover[task];
  const { device, why } = choose({ task, parameters: gpuFrom ?? 0 }, adapter, crossover);
  if (device === 'wasm' || gpuFrom === null) return { gpuFrom: null, why };
  return { gpuFrom, why: 'From that size on it was faster than the CPU where it was measured.' };
}

/** The device for some work. No GPU is looked for where none would be chosen. */
export async function autoDevice(work: Work, crossover: Crossover = CROSSOVER): Promise<'wasm' | 'webgpu'> {
  if (crossover[work.task] === null || work.parameters < crossover[work.task]!) return 'wasm';
  const { requestAdapter, adapterFacts } = await loadGpu();
  const adapter = await requestAdapter();
  return choose(work, adapter && adapterFacts(adapter), crossover).device;
}

/** Of the tensors of a checkpoint. */
export function parametersIn(tensors: Iterable<{ readonly shape: readonly number[] }>): number {
  let sum = 0;
  for (const { shape } of tensors) sum += shape.reduce((product, n) => product * n, 1);
  return sum;
}
