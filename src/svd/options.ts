/** Options of `espalier/svd`. */
import { memoryLimit } from '../device/options.ts';
import type { LaneSeat } from '../device/wasm/lanes.ts';
import { callback, defaulting, like, oneOf, type Schema, signal, truth, whole } from '../options/rules.ts';
import type { StepOptions } from './steps.ts';
import type { Shape } from './types.ts';

export interface LinearAlgebraOptions {
  /** Threads that share products of matrices, this one included. Default 1; more need shared memory, and not a page's main thread. */
  readonly lanes?: number;
  /** Shared memory with one lane. */
  readonly shared?: boolean;
  /** false forces plain SIMD. Default: what the engine has. */
  readonly relaxed?: boolean;
  /** Bytes that the memory may grow to. Default 4 GiB. */
  readonly memoryLimit?: number;
  /** Folder of the wasm files, where it is not the package's. */
  readonly wasmLocation?: URL;
  /** Starts a lane; default: a worker of this host. */
  readonly spawnLane?: (seat: LaneSeat) => Promise<void>;
}

export const linearAlgebraOptions = {
  lanes: defaulting(whole(1, 64), 1),
  shared: truth,
  relaxed: truth,
  memoryLimit,
  wasmLocation: like<URL>('a URL', (value) => value instanceof URL),
  spawnLane: callback,
} as const satisfies Schema<LinearAlgebraOptions>;

const steps = { signal, onProgress: callback } as const;

const shape = { rows: whole(1), columns: whole(1) } as const;

const quality = { quality: defaulting(truth, false) } as const;

export interface GramOptions extends Shape, StepOptions {
  /** 'left': A A^T [rows, rows]. 'right': A^T A [columns, columns]. */
  readonly side: 'left' | 'right';
}

export const gramOptions = {
  ...shape,
  ...steps,
  side: oneOf('left', 'right'),
} as const satisfies Schema<GramOptions>;

export interface QualityOption {
  /** Measures `quality`, which costs two to four more products of matrices, a third to a half of the time. Default false: `quality` is null. */
  readonly quality?: boolean;
}

export interface EigOptions extends StepOptions, QualityOption {
  /** The order of the matrix. */
  readonly n: number;
}

export const eigOptions = { n: whole(1), ...steps, ...quality } as const satisfies Schema<EigOptions>;

export type BatchOptions = Omit<SvdOptions, 'rows' | 'columns'>;

export const batchOptions = {
  ...steps,
  ...quality,
  accuracy: defaulting(oneOf('norm', 'relative'), 'norm'),
} as const satisfies Schema<BatchOptions>;

export interface SvdOptions extends Shape, StepOptions, QualityOption {
  /**
   * 'norm', the default: backward stable, an error in each singular value of a few eps times the largest. 'relative': small singular values keep
   * their leading digits as far as the columns' scales are what makes them small (of the rows, where there are more columns than
   * rows); some five times slower.
   */
  readonly accuracy?: 'norm' | 'relative';
}

export const svdOptions = { ...shape, ...batchOptions } as const satisfies Schema<SvdOptions>;

export interface TruncatedOptions extends SvdOptions {
  /** How many singular triplets, at most min(rows, columns). */
  readonly rank: number;
}

export const truncatedOptions = { ...svdOptions, rank: whole(1) } as const satisfies Schema<TruncatedOptions>;

export interface RandomizedOptions extends Shape, StepOptions, QualityOption {
  readonly rank: number;
  /** Columns of the sketch beyond `rank`. Default 10. */
  readonly oversampling?: number;
  /** Products with A A^T, each after an orthogonalisation: more where singular values fall slowly. Default 2. */
  readonly powerIterations?: number;
  /** Of the Gaussian sketch, 0 to 2^53 - 1. Default 0. */
  readonly seed?: number;
}

export const randomizedOptions = {
  ...shape,
  ...steps,
  ...quality,
  rank: whole(1),
  oversampling: defaulting(whole(0), 10),
  powerIterations: defaulting(whole(0), 2),
  seed: defaulting(whole(0), 0),
} as const satisfies Schema<RandomizedOptions>;
