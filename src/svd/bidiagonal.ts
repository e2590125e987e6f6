import { type Blas, plain, transposed, type Workspace } from './blas.ts';
import { type Reflectors, reflector } from './reflectors.ts';
import type { Steps } from './steps.ts';

/** Columns between two updates of the rest of the matrix. */
const PANEL = 32;

export interface Bidiagonal {
  /** The diagonal [n] and what is above it [n - 1]. */
  readonly d: Float64Array;
  readonly e: Float64Array;
  /** Q and P with A = Q B P^T. */
  readonly left: Reflectors;
  readonly right: Reflectors;
}

/**
 * A = Q B P^T with B upper bidiagonal, for A [m, n], m >= n, whose columns are the rows of a [n, m], overwritten by the left reflectors:
 * blocked Householder reduction (LAPACK dgebrd, dlabrd; Golub and Van Loan 5.4.8). `right` [n, n] takes the right ones.
 */
export async function bidiagonalise(
  blas: Blas,
  workspace: Workspace,
  steps: Steps,
  m: number,
  n: number,
  a: number,
  right: number,
): Promise<Bidiagonal> {
  const { kernels } = blas;
  const ldm = 8 * m;
  const ldn = 8 * n;
  const d = new Float64Array(n);
  const e = new Float64Array(Math.max(0, n - 1));
  const leftTaus = new Float64Array(n);
  const rightTaus = new Float64Array(n);
  // within a panel A stands for A - v y^T - x u^T: the update is one product of [v; x] and [y; u]
  const v = workspace.numbers(2 * PANEL * m);
  const x = v + PANEL * ldm;
  const y = workspace.numbers(2 * PANEL * n);
  const u = y + PANEL * ldn;
  const c = workspace.numbers(PANEL);
  for (let p = 0; p < n; p += PANEL) {
    const q = Math.min(n, p + PANEL);
    const { heap } = blas;
    for (let i = p; i < q; i++) {
      const before = i - p;
      const column = a + i * ldm + 8 * i;
      const rows = m - i;
      const [ownV, ownX, ownY, ownU] = [v + before * ldm, x + before * ldm, y + before * ldn, u + before * ldn];
      gather(heap, y + 8 * i, ldn, before, c);
      kernels.gemvT64(before, rows, -1, v + 8 * i, ldm, c, column);
      gather(heap, u + 8 * i, ldn, before, c);
      kernels.gemvT64(before, rows, -1, x + 8 * i, ldm, c, column);
      const own = reflector(blas, rows, column);
      d[i] = own.beta;
      leftTaus[i] = own.tau;
      heap[column / 8] = 1;
      heap.fill(0, ownV / 8, ownV / 8 + i);
      heap.copyWithin(ownV / 8 + i, column / 8, column / 8 + rows);
      if (i === n - 1) break;

      const at = 8 * (i + 1);
      const columns = n - i - 1;
      const rest = a + (i + 1) * ldm;
      heap.fill(0, ownY / 8, ownY / 8 + n);
      if (own.tau !== 0) {
        kernels.gemv64(0, columns, rows, 1, rest + 8 * i, ldm, column, ownY + at, 0);
        kernels.gemv64(0, before, rows, 1, v + 8 * i, ldm, column, c, 0);
        kernels.gemvT64(before, columns, -1, y + at, ldn, c, ownY + at);
        kernels.gemv64(0, before, rows, 1, x + 8 * i, ldm, column, c, 0);
        kernels.gemvT64(before, columns, -1, u + at, ldn, c, ownY + at);
        kernels.scale64(columns, own.tau, ownY + at);
      }
      // row i as it is now becomes the right reflector
      heap.fill(0, ownU / 8, ownU / 8 + i + 1);
      gather(heap, rest + 8 * i, ldm, columns, ownU + at);
      gather(heap, v + 8 * i, ldm, before + 1, c);
      kernels.gemvT64(before + 1, columns, -1, y + at, ldn, c, ownU + at);
      gather(heap, x + 8 * i, ldm, before, c);
      kernels.gemvT64(before, columns, -1, u + at, ldn, c, ownU + at);
      const side = reflector(blas, columns, ownU + at);
      e[i] = side.beta;
      rightTaus[i] = side.tau;
      heap[(ownU + at) / 8] = 1;
      heap.copyWithin((right + i * ldn) / 8, ownU / 8, ownU / 8 + n);
      heap.fill(0, ownX / 8, ownX / 8 + m);
      if (side.tau === 0) continue;
      kernels.gemvT64(columns, rows - 1, 1, rest + at, ldm, ownU + at, ownX + at);
      kernels.gemv64(0, before + 1, columns, 1, y + at, ldn, ownU + at, c, 0);
      kernels.gemvT64(before + 1, rows - 1, -1, v + at, ldm, c, ownX + at);
      kernels.gemv64(0, before, columns, 1, u + at, ldn, ownU + at, c, 0);
      kernels.gemvT64(before, rows - 1, -1, x + at, ldm, c, ownX + at);
      kernels.scale64(rows - 1, side.tau, ownX + at);
    }
    if (q < n) {
      const to = a + q * ldm + 8 * q;
      blas.gemm(n - q, m - q, 2 * PANEL, -1, transposed(y + 8 * q, ldn), plain(v + 8 * q, ldm), to, ldm, true);
    }
    await steps.step(1 - (1 - q / n) ** 2 * (1 - q / m));
  }
  for (const at of [v, y, c]) workspace.free(at);
  const left = { at: a, ld: ldm, count: n, length: m, shift: 0, taus: leftTaus };
  return { d, e, left, right: { at: right, ld: ldn, count: Math.max(0, n - 1), length: n, shift: 1, taus: rightTaus } };
}

/** `count` numbers, `stride` bytes apart, side by side. */
function gather(heap: Float64Array, from: number, stride: number, count: number, to: number): void {
  for (let i = 0; i < count; i++) heap[to / 8 + i] = heap[(from + i * stride) / 8]!;
}
