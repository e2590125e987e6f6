import type { Blas, Workspace } from './blas.ts';
import { copyR, qr } from './qr.ts';
import { applyReflectors, type Reflectors, reflector } from './reflectors.ts';
import type { Steps } from './steps.ts';
import type { Triplets } from './thin.ts';

/** Rows of a block: two blocks of G and V stay in level 2. */
const BLOCK = 16;
/** Sweeps; seven are many after two QR factorisations. */
const MOST_SWEEPS = 40;
/** A norm below this has lost digits to underflow beside a largest one near 1, and counts as zero. */
const NOTHING = 1e-145;

const EPS = 2 ** -53;

/**
 * The singular triplets of A [m, n], m >= n, as `thinSvd`, with small singular values to high relative accuracy: A = B D with a diagonal D of
 * any condition costs no digits, only the condition of B does (Drmač and Veselić 2008, LAPACK dgejsv). A = Q1 R, R P = Q2 S by QR with column
 * pivoting, S^T = Q3 L, then one-sided Jacobi on L^T.
 */
export async function jacobiSvd(
  blas: Blas,
  workspace: Workspace,
  steps: Steps,
  m: number,
  n: number,
  a: number,
  rank: number,
): Promise<Triplets> {
  const { kernels } = blas;
  const ld = 8 * n;
  steps.span(0, 0.15);
  const outer = m > n ? await qr(blas, workspace, steps, m, n, a) : null;
  const r = workspace.numbers(n * n);
  if (outer) copyR(blas, m, n, a, r);
  else blas.heap.copyWithin(r / 8, a / 8, a / 8 + n * n);
  steps.span(0.15, 0.25);
  const { reflectors: pivoted, places } = await pivotedQr(blas, steps, n, r);
  // rows of s: the columns of S^T
  const columns = workspace.numbers(n * n);
  copyR(blas, n, n, r, columns);
  const s = workspace.numbers(n * n);
  kernels.transpose64(0, n, n, columns, ld, s, ld);
  steps.span(0.25, 0.3);
  const inner = await qr(blas, workspace, steps, n, n, s);
  // rows of g: the columns of L^T
  const g = workspace.numbers(n * n);
  copyR(blas, n, n, s, columns);
  kernels.transpose64(0, n, n, columns, ld, g, ld);
  const rotations = columns;
  blas.heap.fill(0, rotations / 8, rotations / 8 + n * n);
  for (let i = 0; i < n; i++) blas.heap[rotations / 8 + i * (n + 1)] = 1;

  steps.span(0.3, 0.9);
  const norms = await sweep(blas, workspace, steps, n, g, rotations);
  const order = Array.from(norms, (_, i) => i).sort((i, j) => norms[j]! - norms[i]!);
  const values = Float64Array.from(order, (i) => norms[i]!);

  const u = workspace.numbers(rank * m);
  const v = workspace.numbers(rank * n);
  let zeros = 0;
  for (let i = 0; i < rank; i++) {
    const { heap } = blas;
    const row = order[i]!;
    const to = u / 8 + i * m;
    heap.fill(0, to, to + m);
    if (values[i]! > NOTHING) {
      heap.copyWithin(to, g / 8 + row * n, g / 8 + (row + 1) * n);
      kernels.scale64(n, 1 / values[i]!, 8 * to);
    } else zeros++;
    heap.copyWithin(v / 8 + i * n, rotations / 8 + row * n, rotations / 8 + (row + 1) * n);
  }
  for (let i = 0; i < n; i++) if (values[i]! <= NOTHING) values[i] = 0;
  if (zeros > 0) await complete(blas, workspace, steps, n, rank - zeros, rank, u, m);
  steps.span(0.9, 0.93);
  await applyReflectors(blas, workspace, steps, inner, v, ld, rank);
  const { heap } = blas;
  const row = new Float64Array(n);
  for (let i = 0; i < rank; i++) {
    for (let j = 0; j < n; j++) row[places[j]!] = heap[v / 8 + i * n + j]!;
    heap.set(row, v / 8 + i * n);
  }
  steps.span(0.93, outer ? 0.96 : 1);
  await applyReflectors(blas, workspace, steps, pivoted, u, 8 * m, rank);
  if (outer) {
    steps.span(0.96, 1);
    await applyReflectors(blas, workspace, steps, outer, u, 8 * m, rank);
  }
  for (const at of [r, columns, s, g]) workspace.free(at);
  return { values, u, v };
}

/**
 * A P = Q R with pivoting, so that |R_ii| fall (Businger and Golub 1965; LAPACK dlaqp2 with its safe update of norms): as `qr` for m = n.
 * Column j of A P is column places[j] of A.
 */
async function pivotedQr(
  blas: Blas,
  steps: Steps,
  n: number,
  a: number,
): Promise<{ reflectors: Reflectors; places: Int32Array }> {
  const { kernels } = blas;
  const ld = 8 * n;
  const places = Int32Array.from({ length: n }, (_, i) => i);
  const taus = new Float64Array(n);
  const norm = (j: number, from: number) => {
    const at = a + j * ld + 8 * from;
    return Math.sqrt(kernels.dot64(n - from, at, at));
  };
  const norms = Float64Array.from({ length: n }, (_, j) => norm(j, 0));
  /** What each norm was when it was last measured. */
  const measured = norms.slice();
  const products = blas.memory.allocate(ld);
  try {
    for (let i = 0; i < n; i++) {
      const { heap } = blas;
      let pivot = i;
      for (let j = i + 1; j < n; j++) if (norms[j]! > norms[pivot]!) pivot = j;
      if (pivot !== i) {
        const column = heap.slice((a + i * ld) / 8, (a + i * ld) / 8 + n);
        heap.copyWithin((a + i * ld) / 8, (a + pivot * ld) / 8, (a + pivot * ld) / 8 + n);
        heap.set(column, (a + pivot * ld) / 8);
        [places[i], places[pivot]] = [places[pivot]!, places[i]!];
        norms[pivot] = norms[i]!;
        measured[pivot] = measured[i]!;
      }
      const x = a + i * ld + 8 * i;
      const { beta, tau } = reflector(blas, n - i, x);
      taus[i] = tau;
      heap[x / 8] = 1;
      kernels.gemv64(0, n - i - 1, n - i, tau, x + ld, ld, x, products, 0);
      kernels.ger64(0, n - i - 1, n - i, -1, products, x, x + ld, ld);
      heap[x / 8] = beta;
      for (let j = i + 1; j < n; j++) {
        if (norms[j] === 0) continue;
        const ratio = Math.abs(heap[(a + j * ld) / 8 + i]!) / norms[j]!;
        const left = Math.max(0, 1 - ratio * ratio);
        if (left * (norms[j]! / measured[j]!) ** 2 <= Math.sqrt(EPS)) measured[j] = norms[j] = norm(j, i + 1);
        else norms[j]! *= Math.sqrt(left);
      }
      if (i % 16 === 15) await steps.step(1 - (1 - i / n) ** 3);
    }
  } finally {
    blas.memory.free(products);
  }
  return { reflectors: { at: a, ld, count: n, length: n, shift: 0, taus }, places };
}

/** Sweeps over all pairs of rows of g [n, n], until none is turned by more than rounding; v [n, n] turns with them. The norms of the rows. */
async function sweep(
  blas: Blas,
  workspace: Workspace,
  steps: Steps,
  n: number,
  g: number,
  v: number,
): Promise<Float64Array> {
  const { kernels } = blas;
  const ld = 8 * n;
  const norms = workspace.numbers(n + 8);
  const most = norms + ld;
  const tolerance = EPS * Math.sqrt(n);
  const blocks = Math.ceil(n / BLOCK);
  for (let round = 0; round < MOST_SWEEPS; round++) {
    kernels.norms64(0, n, n, g, ld, norms);
    blas.heap[most / 8] = 0;
    for (let i = 0; i < blocks; i++) {
      for (let j = i; j < blocks; j++) {
        const [endI, endJ] = [Math.min(n, (i + 1) * BLOCK), Math.min(n, (j + 1) * BLOCK)];
        kernels.jacobi64(i * BLOCK, endI, j * BLOCK, endJ, n, g, ld, norms, v, ld, n, tolerance, most);
      }
      await steps.step(1 - 0.6 ** (round + (i + 1) / blocks));
    }
    if (blas.heap[most / 8]! <= tolerance) break;
  }
  kernels.norms64(0, n, n, g, ld, norms);
  const result = blas.view(norms, n).slice();
  // what the rotations stretched a row of v by, they stretched the row of g by as well
  kernels.norms64(0, n, n, v, ld, norms);
  for (let i = 0; i < n; i++) {
    const stretch = blas.heap[norms / 8 + i]!;
    result[i]! /= stretch;
    kernels.scale64(n, 1 / stretch, v + i * ld);
    kernels.scale64(n, 1 / stretch, g + i * ld);
  }
  workspace.free(norms);
  return result;
}

/** Rows from .. to - 1 of u, [.., n] with m numbers from row to row, become orthonormal to the rows before them and to each other. */
async function complete(
  blas: Blas,
  workspace: Workspace,
  steps: Steps,
  n: number,
  from: number,
  to: number,
  u: number,
  m: number,
): Promise<void> {
  const basis = workspace.numbers(n * n);
  const { heap } = blas;
  for (let i = 0; i < from; i++) heap.copyWithin(basis / 8 + i * n, u / 8 + i * m, u / 8 + i * m + n);
  const reflectors = await qr(blas, workspace, steps, n, from, basis);
  for (let i = from; i < to; i++) blas.heap[u / 8 + i * m + i] = 1;
  await applyReflectors(blas, workspace, steps, reflectors, u + 8 * from * m, 8 * m, to - from);
  workspace.free(basis);
}
