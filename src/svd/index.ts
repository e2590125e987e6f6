/** Dense linear algebra (`espalier/svd`): symmetric eigenvalues and singular values in f64, in the calling thread. */

export { type ErrorCode, EspalierError } from '../errors.ts';
export type { GramOptions } from './gram.ts';
export { type BatchOptions, LinearAlgebra, type LinearAlgebraOptions } from './linear-algebra.ts';
export type { StepOptions } from './steps.ts';
export type {
  EigOptions,
  Matrix,
  Quality,
  RandomizedOptions,
  Svd,
  SvdOptions,
  SymmetricEig,
  TruncatedOptions,
  TruncatedSvd,
  TruncationError,
} from './types.ts';
