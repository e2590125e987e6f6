/** Numbers of a matrix, row-major. What is computed is f64 in either case; vectors are returned in the type that came in. */
export type Matrix = Float64Array | Float32Array;

/** How good a result is, measured on the arrays that are returned. */
export interface Quality {
  /** ||A - U S V^T||_F / ||A||_F, what was truncated included; of an eigendecomposition ||A V - V L||_F / ||A||_F. 0 for A = 0. */
  readonly residual: number;
  /** Largest magnitude in U^T U - I and V^T V - I. */
  readonly orthogonality: number;
}

export interface Shape {
  readonly rows: number;
  readonly columns: number;
}

export interface SymmetricEig<T extends Matrix> {
  /** Largest first [n]. */
  readonly values: Float64Array;
  /** [n, n]: row i is the eigenvector of values[i], of length 1. */
  readonly vectors: T;
  readonly quality: Quality | null;
}

export interface Svd<T extends Matrix> {
  /** [rows, k], k = min(rows, columns) or the rank that was asked for; columns are left singular vectors. */
  readonly u: T;
  /** Largest first [k]. */
  readonly s: Float64Array;
  /** [k, columns]; rows are right singular vectors. */
  readonly vt: T;
  readonly quality: Quality | null;
}

/** What A - U S V^T leaves out. */
export interface TruncationError {
  /** ||A - U S V^T||_F. */
  readonly frobenius: number;
  /** ||A - U S V^T||_2, or a bound on it. */
  readonly spectral: number;
  /** With what probability `spectral` is below the truth; 0 where it is exact. */
  readonly failure: number;
}

export interface TruncatedSvd<T extends Matrix> extends Svd<T> {
  readonly error: TruncationError;
}
