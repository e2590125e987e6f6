import { bidiagonalise } from './bidiagonal.ts';
import type { Blas, Workspace } from './blas.ts';
import { copyR, qr } from './qr.ts';
import { applyReflectors } from './reflectors.ts';
import { bidiagonalSvd } from './singular-divide.ts';
import type { Steps } from './steps.ts';

/** From this ratio of rows to columns A = Q R first is less work. */
const TALL = 1.5;

/** Singular values, largest first, and the vectors of the first `rank` as rows: u [rank, m], v [rank, n]; u and v are of the workspace. */
export interface Triplets {
  /** All n. */
  readonly values: Float64Array;
  readonly u: number;
  readonly v: number;
}

/**
 * The leading `rank` singular triplets of A [m, n], m >= n, whose columns are the rows of a [n, m]; a is overwritten. Normwise backward
 * stable: A + E = U S V^T with a small ||E||. A tall matrix is first reduced to R (Chan 1982); then bidiagonalisation, divide and conquer
 * and back-transformation (LAPACK dgesdd).
 */
export async function thinSvd(
  blas: Blas,
  workspace: Workspace,
  steps: Steps,
  m: number,
  n: number,
  a: number,
  rank: number,
): Promise<Triplets> {
  const tall = m >= TALL * n;
  let reflectors: Awaited<ReturnType<typeof qr>> | null = null;
  let inner = a;
  let rows = m;
  if (tall) {
    steps.span(0, 0.25);
    reflectors = await qr(blas, workspace, steps, m, n, a);
    rows = n;
    inner = workspace.numbers(n * n);
    copyR(blas, m, n, a, inner);
  }
  steps.span(tall ? 0.25 : 0, tall ? 0.4 : 0.5);
  const right = workspace.numbers(n * n);
  const { d, e, left, right: across } = await bidiagonalise(blas, workspace, steps, rows, n, inner, right);

  steps.span(tall ? 0.4 : 0.5, tall ? 0.6 : 0.7);
  const small = { u: workspace.numbers(n * n), ldu: 8 * n, v: workspace.numbers(n * n), ldv: 8 * n };
  const order = await bidiagonalSvd(blas, workspace, steps, d, e, small);
  const leading = Array.from({ length: rank }, (_, i) => order[n - 1 - i]!);
  const values = Float64Array.from(order, (_, i) => d[order[n - 1 - i]!]!);
  const v = workspace.numbers(rank * n);
  const u = workspace.numbers(rank * m);
  const { heap } = blas;
  leading.forEach((row, i) => {
    heap.copyWithin(v / 8 + i * n, small.v / 8 + row * n, small.v / 8 + (row + 1) * n);
    heap.copyWithin(u / 8 + i * m, small.u / 8 + row * n, small.u / 8 + (row + 1) * n);
    heap.fill(0, u / 8 + i * m + n, u / 8 + (i + 1) * m);
  });
  workspace.free(small.u);
  workspace.free(small.v);

  steps.span(tall ? 0.6 : 0.7, tall ? 0.7 : 0.85);
  await applyReflectors(blas, workspace, steps, across, v, 8 * n, rank);
  workspace.free(right);
  steps.span(tall ? 0.7 : 0.85, tall ? 0.77 : 1);
  await applyReflectors(blas, workspace, steps, left, u, 8 * m, rank);
  if (reflectors !== null) {
    workspace.free(inner);
    steps.span(0.77, 1);
    await applyReflectors(blas, workspace, steps, reflectors, u, 8 * m, rank);
  }
  return { values, u, v };
}
