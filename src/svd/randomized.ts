import { type Blas, plain, transposed, Workspace } from './blas.ts';
import { checkCount, checkMatrix, load, take, unscaled } from './input.ts';
import { fillNormal } from './normal.ts';
import type { RandomizedOptions } from './options.ts';
import { qr } from './qr.ts';
import { svdQuality } from './quality.ts';
import { applyReflectors } from './reflectors.ts';
import { Steps } from './steps.ts';
import { norm } from './svd.ts';
import { thinSvd } from './thin.ts';
import type { Matrix, TruncatedSvd } from './types.ts';

/** Probes of the error: the bound fails with probability 10^-PROBES. */
const PROBES = 10;

/**
 * See LinearAlgebra.randomizedSvd. Halko, Martinsson and Tropp 2011, algorithms 4.4 and 5.1; the bound on the error is their lemma 4.1:
 * ||E||_2 <= 10 sqrt(2 / pi) max_i ||E w_i|| for Gaussian w_i, but with probability 10^-PROBES.
 */
export async function randomizedSvd<T extends Matrix>(
  blas: Blas,
  a: T,
  options: RandomizedOptions,
): Promise<TruncatedSvd<T>> {
  const { rows, columns, rank, oversampling = 10, powerIterations = 2, seed = 0 } = options;
  checkMatrix(a, rows, columns);
  const least = Math.min(rows, columns);
  checkCount('rank', rank, 1, least);
  checkCount('oversampling', oversampling, 0);
  checkCount('powerIterations', powerIterations, 0, 100);
  checkCount('seed', seed, 0);
  const l = Math.min(least, rank + oversampling);
  const steps = new Steps(options);
  const workspace = new Workspace(blas.memory);
  try {
    const side = rows + columns;
    workspace.reserve(rows * columns + 4 * l * side + 7 * l * l + (260 + PROBES) * side + 20000);
    const { at, exponent } = load(blas, workspace, a);
    const ofRows = workspace.numbers(l * rows);
    const ofColumns = workspace.numbers(l * columns);
    const plainA = plain(at, 8 * columns);
    const transposedA = transposed(at, 8 * columns);

    // rows of the two are columns of the sketch A W and of its image A^T Q
    const products = 2 * powerIterations + 2;
    fillNormal(blas.view(ofColumns, l * columns), seed);
    for (let i = 0; i <= powerIterations; i++) {
      steps.span((2 * i) / (products + 2), (2 * i + 1) / (products + 2));
      blas.gemm(l, rows, columns, 1, plain(ofColumns, 8 * columns), transposedA, ofRows, 8 * rows, false);
      await orthonormalise(blas, workspace, steps, rows, l, ofRows);
      steps.span((2 * i + 1) / (products + 2), (2 * i + 2) / (products + 2));
      blas.gemm(l, columns, rows, 1, plain(ofRows, 8 * rows), plainA, ofColumns, 8 * columns, false);
      if (i < powerIterations) await orthonormalise(blas, workspace, steps, columns, l, ofColumns);
    }
    const last = steps.part(products / (products + 2), 1);
    // E = A - Q B takes the place of A; B^T = U' S V'^T, so A ~ (Q V') S U'^T
    blas.gemm(rows, columns, l, -1, transposed(ofRows, 8 * rows), plain(ofColumns, 8 * columns), at, 8 * columns, true);
    const missed = Math.sqrt(blas.kernels.dot64(rows * columns, at, at));
    const bound = probe(blas, workspace, rows, columns, at, seed);
    const zero = exponent === null || blas.kernels.largest64(l * columns, ofColumns) === 0;
    const small = zero ? null : await thinSvd(blas, workspace, last, columns, l, ofColumns, rank);
    const left = workspace.numbers(rank * rows);
    const turned = workspace.numbers(rank * rows);
    const within = small?.v ?? unitRows(blas, workspace, rank, l);
    const right = small?.u ?? unitRows(blas, workspace, rank, columns);
    blas.gemm(rank, rows, l, 1, plain(within, 8 * l), plain(ofRows, 8 * rows), left, 8 * rows, false);
    blas.kernels.transpose64(0, rank, rows, left, 8 * rows, turned, 8 * rank);
    const scaled = small?.values ?? new Float64Array(l);
    const values = unscaled(scaled, exponent);
    const rest = scaled.slice(rank);
    const [frobenius, spectral] = unscaled(
      Float64Array.of(Math.hypot(missed, norm(rest)), bound + (rest[0] ?? 0)),
      exponent,
    );
    const result = {
      u: take(blas, a, turned, rows * rank),
      s: values.slice(0, rank),
      vt: take(blas, a, right, rank * columns),
    };
    workspace.release();
    return {
      ...result,
      quality: options.quality ? svdQuality(blas, workspace, a, rows, columns, result) : null,
      error: { frobenius: frobenius!, spectral: Math.min(spectral!, frobenius!), failure: 10 ** -PROBES },
    };
  } finally {
    workspace.release();
  }
}

/** The rows of x [count, length] become orthonormal; they span what they spanned. */
async function orthonormalise(
  blas: Blas,
  workspace: Workspace,
  steps: Steps,
  length: number,
  count: number,
  x: number,
): Promise<void> {
  const reflectors = await qr(blas, workspace, steps, length, count, x);
  const q = unitRows(blas, workspace, count, length);
  await applyReflectors(blas, workspace, steps, reflectors, q, 8 * length, count);
  blas.heap.copyWithin(x / 8, q / 8, q / 8 + count * length);
  workspace.free(q);
}

function unitRows(blas: Blas, workspace: Workspace, count: number, length: number): number {
  const at = workspace.numbers(count * length);
  const { heap } = blas;
  heap.fill(0, at / 8, at / 8 + count * length);
  for (let i = 0; i < count; i++) heap[at / 8 + i * (length + 1)] = 1;
  return at;
}

/** A bound on ||E||_2 for E [rows, columns]. */
function probe(blas: Blas, workspace: Workspace, rows: number, columns: number, e: number, seed: number): number {
  const w = workspace.numbers(PROBES * columns);
  const image = workspace.numbers(PROBES * rows);
  fillNormal(blas.view(w, PROBES * columns), seed, 1);
  blas.gemm(PROBES, rows, columns, 1, plain(w, 8 * columns), transposed(e, 8 * columns), image, 8 * rows, false);
  let most = 0;
  for (let i = 0; i < PROBES; i++) {
    const at = image + 8 * i * rows;
    most = Math.max(most, Math.sqrt(blas.kernels.dot64(rows, at, at)));
  }
  workspace.free(w);
  workspace.free(image);
  return 10 * Math.sqrt(2 / Math.PI) * most;
}
