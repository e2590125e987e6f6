import { type Blas, plain, transposed, type Workspace } from './blas.ts';
import { load, scaleBy } from './input.ts';
import type { Matrix, Quality } from './types.ts';

/** ||A - U S V^T||_F / ||A||_F and the orthogonality of both sides; a [rows, columns], u [rows, k], vt [k, columns]. */
export function svdQuality(
  blas: Blas,
  workspace: Workspace,
  a: Matrix,
  rows: number,
  columns: number,
  result: { u: Matrix; s: Float64Array; vt: Matrix },
): Quality {
  const { kernels } = blas;
  const k = result.s.length;
  const { at, exponent } = load(blas, workspace, a);
  const left = workspace.numbers(rows * k);
  const right = workspace.numbers(k * columns);
  const square = workspace.numbers(k * k);
  const { heap } = blas;
  heap.set(result.u, left / 8);
  heap.set(result.vt, right / 8);
  blas.gemm(k, k, rows, 1, transposed(left, 8 * k), plain(left, 8 * k), square, 8 * k, false, 0);
  const ofU = offIdentity(heap, k, square);
  blas.gemm(k, k, columns, 1, plain(right, 8 * columns), transposed(right, 8 * columns), square, 8 * k, false, 0);
  const orthogonality = Math.max(ofU, offIdentity(heap, k, square));
  let residual = 0;
  if (exponent !== null) {
    const before = kernels.dot64(rows * columns, at, at);
    const s = workspace.numbers(k);
    blas.heap.set(result.s, s / 8);
    scaleBy(blas, k, s, -exponent);
    const scaled = blas.view(s, k).slice();
    for (let i = 0; i < k; i++) kernels.scale64(columns, scaled[i]!, right + 8 * i * columns);
    blas.gemm(rows, columns, k, -1, plain(left, 8 * k), plain(right, 8 * columns), at, 8 * columns, true);
    residual = Math.sqrt(kernels.dot64(rows * columns, at, at) / before);
    workspace.free(s);
  }
  for (const x of [at, left, right, square]) workspace.free(x);
  return { residual, orthogonality };
}

/** ||A V - V L||_F / ||A||_F and the orthogonality of V; a [n, n] by its upper triangle, rows of `vectors` are the vectors. */
export function eigQuality(
  blas: Blas,
  workspace: Workspace,
  a: Matrix,
  n: number,
  result: { values: Float64Array; vectors: Matrix },
): Quality {
  const { kernels } = blas;
  const ld = 8 * n;
  const { at, exponent } = load(blas, workspace, a, n);
  const vectors = workspace.numbers(n * n);
  const square = workspace.numbers(n * n);
  const values = workspace.numbers(n);
  blas.heap.set(result.vectors, vectors / 8);
  blas.heap.set(result.values, values / 8);
  blas.gemm(n, n, n, 1, plain(vectors, ld), transposed(vectors, ld), square, ld, false, 0);
  const orthogonality = offIdentity(blas.heap, n, square);
  let residual = 0;
  if (exponent !== null) {
    scaleBy(blas, n, values, -exponent);
    blas.gemm(n, n, n, 1, plain(vectors, ld), plain(at, ld), square, ld, false);
    for (let i = 0; i < n; i++) {
      kernels.axpy64(n, -blas.heap[values / 8 + i]!, vectors + i * ld, square + i * ld);
    }
    residual = Math.sqrt(kernels.dot64(n * n, square, square) / kernels.dot64(n * n, at, at));
  }
  for (const x of [at, vectors, square, values]) workspace.free(x);
  return { residual, orthogonality };
}

/** Largest magnitude in the upper triangle of X - I. */
function offIdentity(heap: Float64Array, n: number, x: number): number {
  let most = 0;
  for (let i = 0; i < n; i++) {
    for (let j = i; j < n; j++) most = Math.max(most, Math.abs(heap[x / 8 + i * n + j]! - (i === j ? 1 : 0)));
  }
  return most;
}
