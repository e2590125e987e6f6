/** What `auto` is by what is known of a GPU, with a reason: loaded where one is looked for. */
import { CROSSOVER, type Crossover, type Host, looksForGpu, type Task, type Work } from '../crossover.ts';

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

/** What `auto` is on a host, whatever the model. */
export interface Outlook {
  /** Parameters of the least model that goes to the GPU; null: none does. */
  readonly gpuFrom: number | null;
  /** One sentence. */
  readonly why: string;
}

export function outlook(
  task: Task,
  adapter: Parameters<typeof choose>[1],
  crossover: Crossover = CROSSOVER,
  host: Host = globalThis as Host,
): Outlook {
  const gpuFrom = crossover[task];
  const { device, why } = choose({ task, parameters: gpuFrom ?? 0 }, adapter, crossover);
  if (device === 'wasm' || gpuFrom === null) return { gpuFrom: null, why };
  if ('Deno' in host)
    return { gpuFrom: null, why: 'In Deno a GPU is used only where it is asked for: a mere look can end the program.' };
  if (!looksForGpu(host)) return { gpuFrom: null, why: 'This host has no WebGPU.' };
  return { gpuFrom, why: 'From that size on it was faster than the CPU where it was measured.' };
}
