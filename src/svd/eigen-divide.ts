import { type Blas, plain, type Workspace } from './blas.ts';
import { length2, mergeSorted, splits } from './divide.ts';
import type { Steps } from './steps.ts';

/** Which columns of a vector may differ from zero. */
const TOP = 0;
const BOTH = 1;
const BOTTOM = 2;

const EPS = 2 ** -53;

/**
 * Eigenvalues and eigenvectors of the symmetric tridiagonal matrix with diagonal d [n] and e [n - 1] beside it, by divide and conquer
 * (Cuppen 1981; Gu and Eisenstat 1995; LAPACK dlaed1 to dlaed3): d becomes the eigenvalues, row i of q [n, n] the vector of d[i]. Returned:
 * the rows in ascending order of d. The matrix should be scaled to a norm near 1.
 *
 * T is cut down to single numbers; two halves are joined by a rank-one update, of which most of the work is one product of
 * matrices that skips the zeros of the halves.
 */
export async function tridiagonalEigen(
  blas: Blas,
  workspace: Workspace,
  steps: Steps,
  d: Float64Array,
  e: Float64Array,
  q: number,
): Promise<Int32Array> {
  const n = d.length;
  blas.heap.fill(0, q / 8, q / 8 + n * n);
  for (let i = 0; i < n; i++) blas.heap[q / 8 + i * (n + 1)] = 1;
  for (let i = 0; i < n - 1; i++) {
    const cut = Math.abs(e[i]!);
    d[i]! -= cut;
    d[i + 1]! -= cut;
  }
  const order = Int32Array.from(d, (_, i) => i);
  const scratch = new EigenMerge(blas, workspace, d, q);
  let done = 0;
  for (const [lo, middle, hi] of splits(0, n)) {
    scratch.merge(lo, middle, hi, e[middle - 1]!, order);
    done += (hi - lo) ** 3;
    if (hi - lo >= 64) await steps.step((0.74 * done) / n ** 3);
  }
  scratch.free();
  return order;
}

/** Joins halves. Its memory serves all joins of one matrix. */
class EigenMerge {
  readonly #blas: Blas;
  readonly #workspace: Workspace;
  readonly #d: Float64Array;
  readonly #q: number;
  readonly #n: number;
  readonly #vectors: number;
  readonly #halves: number;
  /** d, z, base, tau, corrected z: n numbers each, then 8 of scratch for each lane. */
  readonly #arrays: number;
  readonly #types: Uint8Array;
  readonly #z: Float64Array;

  constructor(blas: Blas, workspace: Workspace, d: Float64Array, q: number) {
    this.#blas = blas;
    this.#workspace = workspace;
    this.#d = d;
    this.#q = q;
    this.#n = d.length;
    this.#vectors = workspace.numbers(this.#n * this.#n);
    this.#halves = workspace.numbers(this.#n * this.#n);
    this.#arrays = workspace.numbers(5 * this.#n + 8 * blas.lanes.count);
    this.#types = new Uint8Array(this.#n);
    this.#z = new Float64Array(this.#n);
  }

  free(): void {
    for (const at of [this.#vectors, this.#halves, this.#arrays]) this.#workspace.free(at);
  }

  /** Rows lo .. middle - 1 and middle .. hi - 1, each in `order`, become one, with `beside` between the two. */
  merge(lo: number, middle: number, hi: number, beside: number, order: Int32Array): void {
    const d = this.#d;
    const list = mergeSorted(d, order, lo, middle, hi);
    const { kept, gone } = this.#deflate(lo, middle, list, beside);
    const k = kept.length;
    if (k === 0) {
      order.set(
        list.sort((i, j) => d[i]! - d[j]!),
        lo,
      );
      return;
    }
    this.#solve(lo, middle, hi, Math.abs(beside), kept, gone);
    gone.forEach((_, i) => {
      order[lo + k + i] = lo + k + i;
    });
    for (let i = 0; i < k; i++) order[lo + i] = lo + i;
    order.subarray(lo + k, hi).sort((i, j) => d[i]! - d[j]!);
    order.set(mergeSorted(d, order, lo, lo + k, hi), lo);
  }

  /** Rows whose eigenpair is one already, to rounding, or is made one by a rotation with its neighbour (dlaed2). */
  #deflate(lo: number, middle: number, list: readonly number[], beside: number): { kept: number[]; gone: number[] } {
    const { kernels, heap } = this.#blas;
    const d = this.#d;
    const z = this.#z;
    const types = this.#types;
    const n = this.#n;
    const ld = 8 * n;
    const q = this.#q;
    const rho = 2 * Math.abs(beside);
    const sign = beside < 0 ? -Math.SQRT1_2 : Math.SQRT1_2;
    const end = lo + list.length;
    let most = 0;
    let mostZ = 0;
    for (const i of list) {
      const top = i < middle;
      z[i] = top ? Math.SQRT1_2 * heap[q / 8 + i * n + middle - 1]! : sign * heap[q / 8 + i * n + middle]!;
      types[i] = top ? TOP : BOTTOM;
      most = Math.max(most, Math.abs(d[i]!));
      mostZ = Math.max(mostZ, Math.abs(z[i]!));
    }
    const tolerance = 8 * EPS * Math.max(most, mostZ);
    const kept: number[] = [];
    const gone: number[] = [];
    if (rho * mostZ <= tolerance) return { kept, gone: [...list] };
    let before = -1;
    for (const i of list) {
      if (rho * Math.abs(z[i]!) <= tolerance) {
        gone.push(i);
        continue;
      }
      if (before >= 0) {
        const r = length2(z[i]!, z[before]!);
        const c = z[i]! / r;
        const s = -z[before]! / r;
        if (Math.abs((d[i]! - d[before]!) * c * s) <= tolerance) {
          z[i] = r;
          if (types[before] !== types[i]) types[i] = BOTH;
          kernels.rotate64(end - lo, q + before * ld + 8 * lo, q + i * ld + 8 * lo, c, s);
          const x = d[before]!;
          const y = d[i]!;
          d[before] = x * c * c + y * s * s;
          d[i] = x * s * s + y * c * c;
          gone.push(before);
        } else kept.push(before);
      }
      before = i;
    }
    if (before >= 0) kept.push(before);
    return { kept, gone };
  }

  /** Roots, vectors, and the product that turns the halves' vectors into those of the whole (dlaed3). */
  #solve(lo: number, middle: number, hi: number, beside: number, kept: number[], gone: number[]): void {
    const blas = this.#blas;
    const { lanes, heap } = blas;
    const d = this.#d;
    const n = this.#n;
    const ld = 8 * n;
    const k = kept.length;
    const [ds, zs, bases, taus, weights, out] = [0, 1, 2, 3, 4, 5].map((i) => this.#arrays + i * ld) as [
      number,
      number,
      number,
      number,
      number,
      number,
    ];
    const root = Math.sqrt(2 * beside);
    const shares = this.#blas.shares(k);
    let norm2 = 0;
    kept.forEach((i, j) => {
      const z = root * this.#z[i]!;
      norm2 += z * z;
      heap[ds / 8 + j] = d[i]!;
      heap[zs / 8 + j] = z;
    });
    lanes.run('secularEigen', shares, (first, last, lane) => [
      first,
      last,
      k,
      norm2,
      ds,
      zs,
      bases,
      taus,
      out + 64 * lane,
    ]);
    lanes.run('weightsEigen', shares, (first, last) => [first, last, k, ds, zs, bases, taus, weights]);

    // columns by type, so that each half meets only the rows that are not zero there
    const sorted = kept.map((_, j) => j).sort((i, j) => this.#types[kept[i]!]! - this.#types[kept[j]!]! || i - j);
    const count = [0, 0, 0];
    for (const i of kept) count[this.#types[i]!]!++;
    const [tops, both, bottoms] = count as [number, number, number];
    const size = [middle - lo, hi - middle] as const;
    const lower = this.#halves + 8 * (tops + both) * size[0];
    const rest = lower + 8 * (both + bottoms) * size[1];
    const q = this.#q / 8;
    const permuted = [this.#z, new Float64Array(k)] as const;
    sorted.forEach((j, at) => {
      const row = q + kept[j]! * n;
      if (at < tops + both) heap.copyWithin(this.#halves / 8 + at * size[0], row + lo, row + middle);
      if (at >= tops) heap.copyWithin(lower / 8 + (at - tops) * size[1], row + middle, row + hi);
      permuted[0][at] = heap[ds / 8 + j]!;
      permuted[1][at] = heap[weights / 8 + j]!;
    });
    gone.forEach((i, at) => {
      heap.copyWithin(rest / 8 + at * (hi - lo), q + i * n + lo, q + i * n + hi);
    });
    const values = gone.map((i) => d[i]!);
    gone.forEach((_, at) => {
      const from = rest / 8 + at * (hi - lo);
      heap.copyWithin(q + (lo + k + at) * n + lo, from, from + hi - lo);
      d[lo + k + at] = values[at]!;
    });
    for (let i = 0; i < k; i++) d[lo + i] = heap[bases / 8 + i]! + heap[taus / 8 + i]!;
    heap.set(permuted[0].subarray(0, k), ds / 8);
    heap.set(permuted[1], zs / 8);
    const s = this.#vectors;
    lanes.run('vectorsEigen', shares, (first, last) => [first, last, k, ds, zs, bases, taus, s, 8 * k]);
    const to = this.#q + lo * ld;
    blas.gemm(k, size[0], tops + both, 1, plain(s, 8 * k), plain(this.#halves, 8 * size[0]), to + 8 * lo, ld, false);
    blas.gemm(
      k,
      size[1],
      both + bottoms,
      1,
      plain(s + 8 * tops, 8 * k),
      plain(lower, 8 * size[1]),
      to + 8 * middle,
      ld,
      false,
    );
  }
}
