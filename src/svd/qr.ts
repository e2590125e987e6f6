import type { Blas, Workspace } from './blas.ts';
import { applyBlock, BLOCK, BlockScratch, type Reflectors, reflector } from './reflectors.ts';
import type { Steps } from './steps.ts';

/** Columns that are reduced one by one. */
const LEAF = 16;

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
  const reflectors = { at: a, ld: 8 * m, count: n, length: m, shift: 0, taus: new Float64Array(n) };
  const scratch = new BlockScratch(workspace, m, n);
  for (let p = 0; p < n; p += BLOCK) {
    const q = Math.min(n, p + BLOCK);
    reduce(blas, scratch, reflectors, p, q);
    if (q < n) applyBlock(blas, scratch, reflectors, p, q, false, a + q * reflectors.ld, reflectors.ld, n - q);
    await steps.step(1 - (1 - q / n) ** 2);
  }
  scratch.free(workspace);
  return reflectors;
}

/** Columns p .. q - 1, halved down to LEAF so that most of it is products (Elmroth and Gustavson 2000). */
function reduce(blas: Blas, scratch: BlockScratch, h: Reflectors, p: number, q: number): void {
  const { at, ld, length, taus } = h;
  if (q - p > LEAF) {
    const middle = p + LEAF * Math.ceil((q - p) / (2 * LEAF));
    reduce(blas, scratch, h, p, middle);
    applyBlock(blas, scratch, h, p, middle, false, at + middle * ld, ld, q - middle);
    reduce(blas, scratch, h, middle, q);
    return;
  }
  const { kernels, heap } = blas;
  for (let i = p; i < q; i++) {
    const x = at + i * ld + 8 * i;
    const { beta, tau } = reflector(blas, length - i, x);
    taus[i] = tau;
    heap[x / 8] = 1;
    kernels.gemv64(0, q - i - 1, length - i, tau, x + ld, ld, x, scratch.inner, 0);
    kernels.ger64(0, q - i - 1, length - i, -1, scratch.inner, x, x + ld, ld);
    heap[x / 8] = beta;
  }
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
