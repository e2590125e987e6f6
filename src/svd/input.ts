import { EspalierError } from '../errors.ts';
import type { Blas, Workspace } from './blas.ts';
import type { Matrix } from './types.ts';

/** A copied matrix, scaled by a power of two so that its largest magnitude lies in [0.5, 1): products then neither overflow nor vanish. */
export interface Loaded {
  readonly at: number;
  /** A is the copy times 2^exponent; null where A is zero. */
  readonly exponent: number | null;
}

/** @throws E_ARGUMENT, E_SHAPE */
export function checkMatrix(a: Matrix, rows: number, columns: number): void {
  if (!(a instanceof Float64Array || a instanceof Float32Array)) {
    throw new EspalierError(
      'E_ARGUMENT',
      'A matrix is a Float64Array or a Float32Array.',
      'Convert the numbers first.',
    );
  }
  checkCount('rows', rows, 1);
  checkCount('columns', columns, 1);
  if (a.length !== rows * columns) {
    throw new EspalierError(
      'E_SHAPE',
      `A matrix of ${rows} x ${columns} has ${rows * columns} numbers, not ${a.length}.`,
      'Give the numbers row by row, and their counts.',
    );
  }
}

/** @throws E_ARGUMENT unless least <= value <= most, in whole numbers */
export function checkCount(name: string, value: number, least: number, most: number = Number.MAX_SAFE_INTEGER): void {
  if (Number.isSafeInteger(value) && value >= least && value <= most) return;
  const range = most === Number.MAX_SAFE_INTEGER ? `from ${least} on` : `from ${least} to ${most}`;
  throw new EspalierError('E_ARGUMENT', `${name} is ${value}.`, `It takes whole numbers ${range}.`);
}

/**
 * Copies `a` into the workspace, row-major; of a symmetric matrix of order `symmetric` the upper triangle, to both sides.
 * @throws E_TENSOR_VALUE for NaN and infinity; E_OUT_OF_MEMORY
 */
export function load(blas: Blas, workspace: Workspace, a: Matrix, symmetric = 0): Loaded {
  const at = workspace.numbers(a.length);
  blas.heap.set(a, at / 8);
  if (symmetric > 0) blas.kernels.mirror64(symmetric, at, 8 * symmetric);
  const most = blas.kernels.largest64(a.length, at);
  if (!Number.isFinite(most)) {
    throw new EspalierError('E_TENSOR_VALUE', 'The matrix has NaN or infinity in it.', 'Look where it comes from.');
  }
  if (most === 0) return { at, exponent: null };
  const exponent = Math.floor(Math.log2(most)) + 1;
  scaleBy(blas, a.length, at, -exponent);
  return { at, exponent };
}

/** x *= 2^exponent, in two steps, since 2^1074 is no number. */
export function scaleBy(blas: Blas, n: number, x: number, exponent: number): void {
  const half = Math.trunc(exponent / 2);
  if (half !== 0) blas.kernels.scale64(n, 2 ** half, x);
  if (exponent !== half) blas.kernels.scale64(n, 2 ** (exponent - half), x);
}

/** The values of the scaled matrix as those of the matrix itself. */
export function unscaled(values: Float64Array, exponent: number | null): Float64Array {
  const half = Math.trunc((exponent ?? 0) / 2);
  return values.map((x) => x * 2 ** half * 2 ** ((exponent ?? 0) - half));
}

/** Numbers of the workspace, in the type of `like`. */
export function take<T extends Matrix>(blas: Blas, like: T, at: number, length: number): T {
  const view = blas.view(at, length);
  return (like instanceof Float32Array ? Float32Array.from(view) : view.slice()) as T;
}
