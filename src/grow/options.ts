/** Options of a job that grows a model (`espalier/grow`). */
import { type DeviceKind, deviceKind, lanes } from '../device/options.ts';
import { callback, defaulting, either, place, real, type Schema, truth, words } from '../options/rules.ts';
import { type FilesOptions, filesOptions } from '../runtime/hub/options.ts';
import { output } from '../runtime/output/options.ts';
import type { OutputFolder } from '../runtime/output/output.ts';
import { type GrowRecipe, growRecipe } from './plan/options.ts';

export interface GrowProgress {
  readonly stage: 'growing' | 'verifying';
  /** Bytes written of all while growing; a share of 1 while verifying. */
  readonly done: number;
  readonly total: number;
  /** Of this stage, from the pace so far; null until there is one. */
  readonly secondsLeft: number | null;
}

export interface PlanGrowOptions extends GrowRecipe, FilesOptions {
  /** Refuses, or adapts, what llama.cpp would not compute alike after a conversion to GGUF. Default: as the preset says. */
  readonly gguf?: boolean;
  /** Largest file of weights, in bytes. Default 5e9. */
  readonly maxShardBytes?: number;
  /**
   * What computes Gram matrices and slices: `wasm`, the CPU, whose result is the same bits everywhere; `webgpu`, a GPU, or a `GPUDevice` of the
   * caller's. Eigenvectors, noise, rounding and the comparison are the CPU's in either case. `auto` (default): the CPU.
   */
  readonly device?: DeviceKind;
  /** Threads that compute; default: all that can share memory. The result does not depend on it. */
  readonly lanes?: number | 'auto';
  /**
   * Opens the written files again and compares the two models' logits on a text: true (default), a text, or false to leave it out. A plan
   * counts the memory and the time of it.
   */
  readonly verify?: boolean | string;
  /** Folder of the kernels' wasm files, where it is not beside the JavaScript. */
  readonly wasmLocation?: string | URL;
}

export interface GrowOptions extends PlanGrowOptions {
  /** A folder that does not exist yet or is empty (Node, Deno, Bun), or an output of one's own, such as `memoryOutput`. */
  readonly out: string | URL | OutputFolder;
  /** Throws away what an earlier job with other options has left unfinished there. */
  readonly restart?: boolean;
  readonly onProgress?: (progress: GrowProgress) => void;
}

export const jobOptions = {
  ...growRecipe,
  gguf: truth,
  maxShardBytes: defaulting(real(1), 5e9),
  device: deviceKind,
  lanes,
  verify: defaulting(either(truth, words), true),
  wasmLocation: place,
};

/** Of `espalier/grow`. */
export const planGrowOptions = { ...jobOptions, ...filesOptions, out: output } as const satisfies Schema<
  PlanGrowOptions & { readonly out?: GrowOptions['out'] }
>;

export const growOptions = {
  ...planGrowOptions,
  restart: truth,
  onProgress: callback,
} as const satisfies Schema<GrowOptions>;
