/** Options of a wasm device. */
import { object } from '../../options/check.ts';
import { callback, defaulting, like, type Schema, truth, whole } from '../../options/rules.ts';
import { MOST_LANES } from '../../runtime/host/lane-count.ts';
import { memoryLimit } from '../options.ts';
import type { LaneSeat } from './lanes.ts';
import type { Tuning } from './tune.ts';

export interface WasmDeviceOptions {
  /** Threads that compute each large operation together, this one included. Default 1. More need shared memory. */
  readonly lanes?: number;
  /**
   * Starts a lane and resolves when it runs; default: a worker of this package (workers/lane.ts). It may call `onEnd` when the lane has
   * ended; else the device notices a loss with the next operation.
   */
  readonly spawnLane?: (seat: LaneSeat, onEnd: () => void) => Promise<void>;
  /** Over a SharedArrayBuffer. Default: with more than one lane. */
  readonly shared?: boolean;
  /** False forces plain SIMD, for comparison. Default: what the engine has. */
  readonly relaxed?: boolean;
  /** Most bytes of memory. Default 4 GiB, the end of a 32-bit address space. */
  readonly memoryLimit?: number;
  /** Records where each tensor is made, for `liveTensors`, and looks at ids, places, orders and offsets, which are else the caller's promise. */
  readonly debug?: boolean;
  /** Forces kernels instead of timing them: numbers of MICRO and DOT. */
  readonly tuning?: Partial<Tuning>;
  /** Folder of the kernels' wasm files. */
  readonly wasmLocation?: URL;
}

/** The numbers of MICRO and DOT, of a module that pages need not load here. */
export const tuningOptions = { micro: whole(0, 4), dot: whole(0, 2) };

export const wasmDeviceOptions = {
  lanes: defaulting(whole(1, MOST_LANES), 1),
  spawnLane: callback,
  shared: truth,
  relaxed: truth,
  memoryLimit,
  debug: defaulting(truth, false),
  tuning: object<NonNullable<WasmDeviceOptions['tuning']>>(tuningOptions, 'tuning'),
  wasmLocation: like<URL>('a URL', (value) => value instanceof URL),
} as const satisfies Schema<WasmDeviceOptions>;
