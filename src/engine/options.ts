/** Options of an engine, and of opening a model on one. */
import { quantisedType } from '../checkpoint/quantised/quantised-types.ts';
import { anyMemoryLimit, type DeviceName, deviceName, lanes, precision } from '../device/options.ts';
import { adapters } from '../model/adapter-options.ts';
import { contextLength, promptCache } from '../model/options.ts';
import type { OpenOptions as LocalOpenOptions } from '../open-local.ts';
import { callback, defaulting, either, nothing, place, type Schema, signal, truth, words } from '../options/rules.ts';
import { hub } from '../runtime/hub/options.ts';

export interface EngineOptions {
  /**
   * What computes: `wasm`, the CPU, or `webgpu`, a GPU. `auto` (default): the CPU, until a model is opened of a size with which a real GPU is known to
   * be faster; then all of the engine moves there, if it holds no other model. The two do not come to the same bits (docs/webgpu.md).
   */
  readonly device?: DeviceName;
  /**
   * Threads that compute on the CPU. `auto` (default): all that the host has where memory can be shared, else 1. A number above 1 without
   * shared memory is E_NO_ISOLATION.
   */
  readonly lanes?: number | 'auto';
  /** False forces plain SIMD, for comparison. Default: what the JavaScript engine has. */
  readonly relaxed?: boolean;
  /** Most bytes of memory for weights, caches and scratch. Default 4 GiB, the end of a 32-bit address space; on a GPU none. */
  readonly memoryLimit?: number;
  /** Folder of the kernels' wasm files, where it is not beside the JavaScript. */
  readonly wasmLocation?: string | URL;
  /**
   * Whether its models can be shown examples (`ShotPool`, `Show`, `evaluate`): the worker is then `workers/show.js`, which is larger, and
   * weights are hashed while they are read. Default false.
   */
  readonly show?: boolean;
  /** The script of the engine worker, and that of a lane, where they are not beside the JavaScript. */
  readonly workerLocation?: string | URL;
  readonly laneLocation?: string | URL;
  /** Ends the start. */
  readonly signal?: AbortSignal;
}

export const engineOptions = {
  device: deviceName('openLocal of espalier/local'),
  lanes: defaulting(lanes, 'auto'),
  relaxed: truth,
  memoryLimit: anyMemoryLimit,
  show: defaulting(truth, false),
  wasmLocation: place,
  workerLocation: place,
  laneLocation: place,
  signal,
} as const satisfies Schema<EngineOptions>;

export interface EngineOpenOptions extends Omit<LocalOpenOptions, 'device' | 'cache'> {
  /** Name of the folder for downloads; default: the host's own. Null: in memory, until the model is open. */
  readonly cache?: string | null;
  /** Gives bytes away: they are moved to the worker instead of copied, and the caller's arrays are empty then. */
  readonly transfer?: boolean;
}

export const engineOpenOptions = {
  precision,
  quantise: quantisedType,
  contextLength,
  adapters,
  promptCache,
  hub,
  cache: either(words, nothing),
  transfer: defaulting(truth, false),
  signal,
  onDownload: callback,
  onProgress: callback,
} as const satisfies Schema<EngineOpenOptions>;
