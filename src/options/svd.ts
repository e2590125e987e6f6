/** Options of `espalier/svd`. */
import type { GramOptions } from '../svd/gram.ts';
import type { BatchOptions, LinearAlgebraOptions } from '../svd/linear-algebra.ts';
import type { EigOptions, RandomizedOptions, SvdOptions, TruncatedOptions } from '../svd/types.ts';
import { memoryLimit } from './open.ts';
import { callback, defaulting, like, oneOf, type Schema, signal, truth, whole } from './rules.ts';

const steps = { signal, onProgress: callback } as const;
const shape = { rows: whole(1), columns: whole(1) } as const;
const quality = { quality: defaulting(truth, false) } as const;

export const linearAlgebraOptions = {
  lanes: defaulting(whole(1, 64), 1),
  shared: truth,
  relaxed: truth,
  memoryLimit,
  wasmLocation: like<URL>('a URL', (value) => value instanceof URL),
  spawnLane: callback,
} as const satisfies Schema<LinearAlgebraOptions>;

export const gramOptions = {
  ...shape,
  ...steps,
  side: oneOf('left', 'right'),
} as const satisfies Schema<GramOptions>;

export const eigOptions = { n: whole(1), ...steps, ...quality } as const satisfies Schema<EigOptions>;

export const batchOptions = {
  ...steps,
  ...quality,
  accuracy: defaulting(oneOf('norm', 'relative'), 'norm'),
} as const satisfies Schema<BatchOptions>;

export const svdOptions = { ...shape, ...batchOptions } as const satisfies Schema<SvdOptions>;

export const truncatedOptions = { ...svdOptions, rank: whole(1) } as const satisfies Schema<TruncatedOptions>;

export const randomizedOptions = {
  ...shape,
  ...steps,
  ...quality,
  rank: whole(1),
  oversampling: defaulting(whole(0), 10),
  powerIterations: defaulting(whole(0), 2),
  seed: defaulting(whole(0), 0),
} as const satisfies Schema<RandomizedOptions>;
