import type { Blas, Workspace } from './blas.ts';
import { applyBlock, BlockScratch, type Reflectors, reflector } from './reflectors.ts';
import type { Steps } from './steps.ts';

/** Columns between two updates of the rest of the matrix. */
const PANEL = 32;

/**
 * A = Q R for A [m, n], m >= n, whose columns are the rows of a [n, m]: blocked Householder reduction (LAPACK dgeqrf; Golub and Van Loan,
 * 5.2). Column j keeps R_(0..j)j in its first j + 1 numbers and the reflector behind them.
 */
export async function qr(
  blas: Blas,
  workspace: Workspace,
  steps: Steps,
  m: number,
  n: number,
  a: number,
): Promise<Reflectors> {
  const { kernels } = blas;
  const ld = 8 * m;
  const taus = new Float64Array(n);
  const reflectors = { at: a, ld, count: n, length: m, shift: 0, taus };
  const scratch = new BlockScratch(workspace, m, n);
  for (let p = 0; p < n; p += PANEL) {
    const q = Math.min(n, p + PANEL);
    const { heap } = blas;
    for (let i = p; i < q; i++) {
      const x = a + i * ld + 8 * i;
      const { beta, tau } = reflector(blas, m - i, x);
      taus[i] = tau;
      heap[x / 8] = 1;
      kernels.gemv64(0, q - i - 1, m - i, tau, x + ld, ld, x, scratch.inner, 0);
      kernels.ger64(0, q - i - 1, m - i, -1, scratch.inner, x, x + ld, ld);
      heap[x / 8] = beta;
    }
    if (q < n) applyBlock(blas, scratch, reflectors, p, q, false, a + q * ld, ld, n - q);
    await steps.step(1 - (1 - q / n) ** 2);
  }
  scratch.free(workspace);
  return reflectors;
}

/** R of `qr`, its columns as rows of r [n, n], with zeros below the diagonal. */
export function copyR(blas: Blas, m: number, n: number, a: number, r: number): void {
  const { heap } = blas;
  for (let j = 0; j < n; j++) {
    const to = r / 8 + j * n;
    heap.copyWithin(to, a / 8 + j * m, a / 8 + j * m + j + 1);
    heap.fill(0, to + j + 1, to + n);
  }
}
