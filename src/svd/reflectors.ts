import { type Blas, plain, transposed, type Workspace } from './blas.ts';
import type { Steps } from './steps.ts';

/** Squares of numbers below this lose bits to underflow; matrices are scaled to a largest magnitude near 1 beforehand. */
const SMALL_SQUARE = 1e-270;
/** A vector below this is nothing beside the matrix, and becomes zero. */
const NOTHING = 1e-280;

/** Reflectors in a block that is applied as two products. */
export const BLOCK = 64;

/**
 * Householder's reflector H = I - tau v v^T, v_0 = 1, with H x = (beta, 0, …) (LAPACK dlarfg). x[1 ..] becomes v[1 ..], x[0] is left
 * as it is.
 */
export function reflector(blas: Blas, n: number, x: number): { beta: number; tau: number } {
  const { kernels, heap } = blas;
  const alpha = heap[x / 8]!;
  if (n <= 1) return { beta: alpha, tau: 0 };
  const rest = kernels.dot64(n - 1, x + 8, x + 8);
  if (rest + alpha * alpha < SMALL_SQUARE) {
    const most = kernels.largest64(n, x);
    if (most < NOTHING || kernels.largest64(n - 1, x + 8) === 0) {
      heap.fill(0, x / 8 + 1, x / 8 + n);
      return { beta: alpha, tau: 0 };
    }
    kernels.scale64(n, 1 / most, x);
    const { beta, tau } = reflector(blas, n, x);
    return { beta: beta * most, tau };
  }
  if (rest === 0) {
    heap.fill(0, x / 8 + 1, x / 8 + n);
    return { beta: alpha, tau: 0 };
  }
  const beta = alpha > 0 ? -Math.sqrt(alpha * alpha + rest) : Math.sqrt(alpha * alpha + rest);
  kernels.scale64(n - 1, 1 / (alpha - beta), x + 8);
  return { beta, tau: (beta - alpha) / beta };
}

/** Where reflectors lie and how long they are: row i of `at` has v_i, its 1 at column i + shift (what stands there is not read). */
export interface Reflectors {
  readonly at: number;
  readonly ld: number;
  /** How many. */
  readonly count: number;
  /** Columns of the matrix that holds them. */
  readonly length: number;
  readonly shift: number;
  /** tau of each. */
  readonly taus: Float64Array;
}

/** Scratch for blocks of reflectors that are applied to up to `rows` rows. */
export class BlockScratch {
  readonly vectors: number;
  readonly combined: number;
  readonly products: number;
  readonly inner: number;
  readonly factor: number;

  constructor(workspace: Workspace, length: number, rows: number) {
    this.vectors = workspace.numbers(BLOCK * length);
    this.combined = workspace.numbers(BLOCK * Math.max(length, rows));
    this.products = workspace.numbers(BLOCK * rows);
    this.inner = workspace.numbers(BLOCK * BLOCK);
    this.factor = workspace.numbers(BLOCK * BLOCK);
  }

  free(workspace: Workspace): void {
    for (const at of [this.vectors, this.combined, this.products, this.inner, this.factor]) workspace.free(at);
  }
}

/**
 * X <- X H or X H^T for the block H = H_p H_(p+1) … H_(q-1) = I - V^T T V (compact WY, Schreiber and Van Loan 1989; LAPACK dlarft and dlarfb;
 * here v_i are rows): X [rows, length] with ldx bytes between rows.
 */
export function applyBlock(
  blas: Blas,
  scratch: BlockScratch,
  h: Reflectors,
  p: number,
  q: number,
  transpose: boolean,
  x: number,
  ldx: number,
  rows: number,
): void {
  const { heap } = blas;
  const nb = q - p;
  const start = p + h.shift;
  const length = h.length - start;
  const ld = 8 * length;
  for (let i = 0; i < nb; i++) {
    const to = (scratch.vectors + i * ld) / 8;
    const from = (h.at + (p + i) * h.ld) / 8 + start;
    heap.fill(0, to, to + i);
    heap[to + i] = 1;
    heap.copyWithin(to + i + 1, from + i + 1, from + length);
  }
  const v = plain(scratch.vectors, ld);
  // T^T, lower triangular: its row j is tau_j at j, and before that -tau_j (V v_j) T_(<j)(<j)
  blas.gemm(nb, nb, length, 1, v, transposed(scratch.vectors, ld), scratch.inner, 8 * nb, false, 0);
  const t = scratch.factor / 8;
  const column = scratch.combined;
  heap.fill(0, t, t + nb * nb);
  for (let j = 0; j < nb; j++) {
    const tau = h.taus[p + j]!;
    for (let l = 0; l < j; l++) heap[column / 8 + l] = heap[scratch.inner / 8 + l * nb + j]!;
    blas.kernels.gemvT64(j, j, -tau, scratch.factor, 8 * nb, column, scratch.factor + 8 * j * nb);
    heap[t + j * nb + j] = tau;
  }
  const factor = transpose ? plain(scratch.factor, 8 * nb) : transposed(scratch.factor, 8 * nb);
  const at = x + 8 * start;
  const products = plain(scratch.products, 8 * nb);
  blas.gemm(rows, nb, length, 1, plain(at, ldx), transposed(scratch.vectors, ld), scratch.products, 8 * nb, false);
  // (X V^T) T V: T goes to the smaller side
  if (rows < length) {
    blas.gemm(rows, nb, nb, 1, products, factor, scratch.combined, 8 * nb, false);
    blas.gemm(rows, length, nb, -1, plain(scratch.combined, 8 * nb), v, at, ldx, true);
  } else {
    blas.gemm(nb, length, nb, 1, factor, v, scratch.combined, ld, false);
    blas.gemm(rows, length, nb, -1, products, plain(scratch.combined, ld), at, ldx, true);
  }
}

/** X <- X Q^T for X [rows, length], Q the product H_0 H_1 … of all reflectors: rows that are vectors become Q times them (LAPACK dormtr). */
export async function applyReflectors(
  blas: Blas,
  workspace: Workspace,
  steps: Steps,
  h: Reflectors,
  x: number,
  ldx: number,
  rows: number,
): Promise<void> {
  if (h.count === 0 || rows === 0) return;
  const scratch = new BlockScratch(workspace, h.length, rows);
  const blocks = Math.ceil(h.count / BLOCK);
  for (let b = blocks - 1; b >= 0; b--) {
    applyBlock(blas, scratch, h, b * BLOCK, Math.min(h.count, (b + 1) * BLOCK), true, x, ldx, rows);
    await steps.step((blocks - b) / blocks);
  }
  scratch.free(workspace);
}
