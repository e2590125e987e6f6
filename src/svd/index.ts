/** Dense linear algebra (`espalier/svd`): symmetric eigenvalues and singular values in f64, in the calling thread. */

export { type ErrorCode, EspalierError } from '../errors.ts';
export { LinearAlgebra } from './linear-algebra.ts';
export type {
  BatchOptions,
  EigOptions,
  GramOptions,
  LinearAlgebraOptions,
  RandomizedOptions,
  SvdOptions,
  TruncatedOptions,
} from './options.ts';
export type { StepOptions } from './steps.ts';
export type { Matrix, Quality, Svd, SymmetricEig, TruncatedSvd, TruncationError } from './types.ts';
