import { EspalierError } from '../errors.ts';
import { type Blas, Workspace } from './blas.ts';
import { checkCount, checkMatrix, load, take, unscaled } from './input.ts';
import { jacobiSvd } from './jacobi.ts';
import type { SvdOptions, TruncatedOptions } from './options.ts';
import { svdQuality } from './quality.ts';
import { Steps } from './steps.ts';
import { thinSvd } from './thin.ts';
import type { Matrix, Svd, TruncatedSvd } from './types.ts';

/** See LinearAlgebra.svd. */
export async function svd<T extends Matrix>(blas: Blas, a: T, options: SvdOptions): Promise<Svd<T>> {
  const { u, s, vt, quality } = await leading(blas, a, options, null);
  return { u, s, vt, quality };
}

/** See LinearAlgebra.truncatedSvd. */
export async function truncatedSvd<T extends Matrix>(
  blas: Blas,
  a: T,
  options: TruncatedOptions,
): Promise<TruncatedSvd<T>> {
  const { u, s, vt, quality, rest } = await leading(blas, a, options, options.rank);
  return {
    u,
    s,
    vt,
    quality,
    error: { frobenius: norm(rest), spectral: rest[0] ?? 0, failure: 0 },
  };
}

/** ||x||, scaled by the first and largest. */
export function norm(x: Float64Array): number {
  const most = x[0] ?? 0;
  return most === 0 ? 0 : most * Math.sqrt(x.reduce((sum, v) => sum + (v / most) ** 2, 0));
}

async function leading<T extends Matrix>(
  blas: Blas,
  a: T,
  options: SvdOptions,
  asked: number | null,
): Promise<Svd<T> & { rest: Float64Array }> {
  const { rows, columns, accuracy = 'norm' } = options;
  checkMatrix(a, rows, columns);
  const wide = rows < columns;
  const [m, n] = wide ? [columns, rows] : [rows, columns];
  if (asked !== null) checkCount('rank', asked, 1, n);
  if (accuracy !== 'norm' && accuracy !== 'relative') {
    throw new EspalierError('E_ARGUMENT', `accuracy is ${String(accuracy)}.`, "It takes 'norm' or 'relative'.");
  }
  const rank = asked ?? n;
  const steps = new Steps(options);
  const workspace = new Workspace(blas.memory);
  try {
    workspace.reserve(m * n + Math.max(m * n, 7 * n * n, 5 * n * n + rank * (m + n)) + 260 * (m + n) + 20000);
    const { at, exponent } = load(blas, workspace, a);
    const decompose = accuracy === 'relative' ? jacobiSvd : thinSvd;
    // the columns of the taller of A and A^T as rows
    let own = at;
    if (!wide) {
      own = workspace.numbers(m * n);
      blas.kernels.transpose64(0, m, n, at, 8 * n, own, 8 * m);
      workspace.free(at);
    }
    const triplets =
      exponent === null ? zero(blas, workspace, m, n, rank) : await decompose(blas, workspace, steps, m, n, own, rank);
    workspace.free(own);
    const [left, right] = wide ? [triplets.v, triplets.u] : [triplets.u, triplets.v];
    const turned = workspace.numbers(rank * rows);
    blas.kernels.transpose64(0, rank, rows, left, 8 * rows, turned, 8 * rank);
    const values = unscaled(triplets.values, exponent);
    const result = {
      u: take(blas, a, turned, rows * rank),
      s: values.slice(0, rank),
      vt: take(blas, a, right, rank * columns),
    };
    for (const x of [left, right, turned]) workspace.free(x);
    const quality = options.quality ? svdQuality(blas, workspace, a, rows, columns, result) : null;
    return { ...result, quality, rest: values.slice(rank) };
  } finally {
    workspace.release();
  }
}

/** Unit vectors for a matrix of zeros. */
function zero(blas: Blas, workspace: Workspace, m: number, n: number, rank: number) {
  const u = workspace.numbers(rank * m);
  const v = workspace.numbers(rank * n);
  const { heap } = blas;
  heap.fill(0, u / 8, u / 8 + rank * m);
  heap.fill(0, v / 8, v / 8 + rank * n);
  for (let i = 0; i < rank; i++) heap[u / 8 + i * (m + 1)] = heap[v / 8 + i * (n + 1)] = 1;
  return { values: new Float64Array(n), u, v };
}
