/** Options of merging adapters into their base. */
import type { OutputType } from '../checkpoint/write/shards.ts';
import { lanes } from '../device/options.ts';
import { type AdapterChoice, adapters } from '../model/adapter-options.ts';
import { callback, defaulting, oneOf, place, real, type Schema, truth } from '../options/rules.ts';
import { type FilesOptions, filesOptions } from '../runtime/hub/options.ts';
import { output } from '../runtime/output/options.ts';
import type { OutputFolder } from '../runtime/output/output.ts';

export interface MergeProgress {
  /** Bytes written, and in all. */
  readonly done: number;
  readonly total: number;
}

export interface MergeOptions extends FilesOptions {
  /** One or several, each with a weight, as `open` takes them. */
  readonly adapters: readonly AdapterChoice[];
  /** A folder that does not exist yet or is empty (Node, Deno, Bun), or an output of one's own, such as `memoryOutput`. */
  readonly out: string | URL | OutputFolder;
  /** Of all tensors that are written: `auto` as each is stored. Default auto. */
  readonly dtype?: 'auto' | OutputType;
  /** Largest file of weights, in bytes. Default 5e9. */
  readonly maxShardBytes?: number;
  /** Threads that compute; default: all that can share memory. The result does not depend on it. */
  readonly lanes?: number | 'auto';
  /** Throws away what an earlier job with other options has left unfinished there. */
  readonly restart?: boolean;
  /** Folder of the kernels' wasm files, where it is not beside the JavaScript. */
  readonly wasmLocation?: string | URL;
  readonly onProgress?: (progress: MergeProgress) => void;
}

export const mergeOptions = {
  ...filesOptions,
  adapters,
  out: output,
  dtype: defaulting(oneOf('auto', 'f32', 'bf16', 'f16'), 'auto'),
  maxShardBytes: defaulting(real(1), 5e9),
  lanes,
  restart: truth,
  wasmLocation: place,
  onProgress: callback,
} as const satisfies Schema<MergeOptions>;
