import { type Blas, plain, transposed, type Workspace } from './blas.ts';
import { type Reflectors, reflector } from './reflectors.ts';
import type { Steps } from './steps.ts';

/** Columns between two updates of the rest of the matrix. */
const PANEL = 32;

export interface Tridiagonal {
  /** The diagonal [n] and what is beside it [n - 1]. */
  readonly d: Float64Array;
  readonly e: Float64Array;
  /** Q = H_0 H_1 … with A = Q T Q^T. */
  readonly reflectors: Reflectors;
}

/**
 * A = Q T Q^T with T tridiagonal, for symmetric A [n, n] of which the upper triangle is read, and overwritten by the reflectors:
 * blocked Householder reduction (LAPACK dsytrd, dlatrd; Dongarra, Hammarling and Sorensen 1989). Half of the work is products of the
 * whole rest of the matrix with a vector, which read each number once; the other half is one product a panel.
 */
export async function tridiagonalise(
  blas: Blas,
  workspace: Workspace,
  steps: Steps,
  n: number,
  a: number,
): Promise<Tridiagonal> {
  const { kernels } = blas;
  const ld = 8 * n;
  const d = new Float64Array(n);
  const e = new Float64Array(Math.max(0, n - 1));
  const taus = new Float64Array(n);
  // reflectors v, w and v again: [v; w] and [w; v] are then the two sides of the update A -= v w^T + w v^T
  const v = workspace.numbers(3 * PANEL * n);
  const w = v + PANEL * ld;
  const coefficients = workspace.numbers(2 * PANEL);
  for (let p = 0; p < n; p += PANEL) {
    const { heap } = blas;
    const q = Math.min(n, p + PANEL);
    for (let j = p; j < q; j++) {
      const row = a + j * ld;
      const before = j - p;
      for (let i = 0; i < before; i++) {
        heap[coefficients / 8 + i] = heap[(w + i * ld) / 8 + j]!;
        heap[coefficients / 8 + PANEL + i] = heap[(v + i * ld) / 8 + j]!;
      }
      kernels.gemvT64(before, n - j, -1, v + 8 * j, ld, coefficients, row + 8 * j);
      kernels.gemvT64(before, n - j, -1, w + 8 * j, ld, coefficients + 8 * PANEL, row + 8 * j);
      d[j] = heap[row / 8 + j]!;
      const own = w + before * ld;
      const ownV = v + before * ld;
      heap.fill(0, ownV / 8, ownV / 8 + j + 1);
      if (j === n - 1) break;
      const at = 8 * (j + 1);
      const length = n - j - 1;
      const { beta, tau } = reflector(blas, length, row + at);
      e[j] = beta;
      taus[j] = tau;
      heap[row / 8 + j + 1] = 1;
      heap.copyWithin(ownV / 8 + j + 1, row / 8 + j + 1, row / 8 + n);
      heap.fill(0, own / 8, own / 8 + n);
      if (tau === 0) continue;
      const x = row + at;
      const y = own + at;
      kernels.symv64(0, length, length, a + (j + 1) * ld + at, ld, x, y);
      kernels.gemv64(0, before, length, 1, w + at, ld, x, coefficients, 0);
      kernels.gemvT64(before, length, -1, v + at, ld, coefficients, y);
      kernels.gemv64(0, before, length, 1, v + at, ld, x, coefficients, 0);
      kernels.gemvT64(before, length, -1, w + at, ld, coefficients, y);
      kernels.scale64(length, tau, y);
      kernels.axpy64(length, -0.5 * tau * kernels.dot64(length, y, x), x, y);
    }
    if (q < n) {
      heap.copyWithin((v + 2 * PANEL * ld) / 8, v / 8, (v + PANEL * ld) / 8);
      const at = 8 * q;
      blas.gemm(n - q, n - q, 2 * PANEL, -1, transposed(v + at, ld), plain(w + at, ld), a + q * ld + at, ld, true, 0);
    }
    await steps.step(1 - (1 - q / n) ** 3);
  }
  workspace.free(v);
  workspace.free(coefficients);
  return { d, e, reflectors: { at: a, ld, count: Math.max(0, n - 1), length: n, shift: 1, taus } };
}
