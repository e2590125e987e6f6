import { type Blas, plain, type Workspace } from './blas.ts';
import { length2, mergeSorted } from './divide.ts';
import type { Steps } from './steps.ts';

/** Which columns of a vector may differ from zero. */
const TOP = 0;
const BOTH = 1;
const BOTTOM = 2;

const EPS = 2 ** -53;

/** Vectors as rows: row i of U begins at u + i ldu, of V at v + i ldv. */
export interface SingularVectors {
  readonly u: number;
  readonly ldu: number;
  readonly v: number;
  readonly ldv: number;
}

/**
 * Singular values and vectors of the upper bidiagonal matrix with diagonal d [n] and e [n - 1] above it, by divide and conquer (Gu and
 * Eisenstat 1995; LAPACK dbdsdc, dlasd1 to dlasd3): d becomes the values, rows i of U and V [n, n] the vectors of d[i]. Returned: the rows in
 * ascending order of d.
 *
 * B without its row `middle` falls into two blocks, of which the upper one has a column more than rows. Their singular values
 * and the row make a matrix that is zero but for its first row and its diagonal.
 */
export async function bidiagonalSvd(
  blas: Blas,
  workspace: Workspace,
  steps: Steps,
  d: Float64Array,
  e: Float64Array,
  vectors: SingularVectors,
): Promise<Int32Array> {
  const n = d.length;
  const { heap } = blas;
  const most = Math.max(...[d, e].map((x) => x.reduce((a, b) => Math.max(a, Math.abs(b)), 0)));
  // exact zeros would make blocks without a scale of their own
  const least = EPS * most;
  for (let i = 0; i < n; i++) if (Math.abs(d[i]!) < least) d[i] = d[i]! < 0 ? -least : least;
  for (let i = 0; i < n; i++) {
    heap.fill(0, (vectors.u + i * vectors.ldu) / 8, (vectors.u + i * vectors.ldu) / 8 + n);
    heap.fill(0, (vectors.v + i * vectors.ldv) / 8, (vectors.v + i * vectors.ldv) / 8 + n);
    heap[(vectors.u + i * vectors.ldu) / 8 + i] = 1;
    heap[(vectors.v + i * vectors.ldv) / 8 + i] = 1;
  }
  const merge = new SingularMerge(blas, workspace, d, e, vectors);
  let done = 0;
  for (const [lo, hi, extra] of blocks(0, n, 0)) {
    if (hi - lo === 1) merge.leaf(lo, extra);
    else merge.join(lo, (lo + hi) >> 1, hi, extra);
    done += (hi - lo) ** 3;
    if (hi - lo >= 64) await steps.step((0.74 * done) / n ** 3);
  }
  merge.free();
  return merge.order;
}

/** Blocks of rows lo .. hi - 1 with `extra` columns more than rows, inner ones first. */
function blocks(lo: number, hi: number, extra: number): [lo: number, hi: number, extra: number][] {
  if (hi <= lo) return [];
  if (hi - lo === 1) return [[lo, hi, extra]];
  const middle = (lo + hi) >> 1;
  return [...blocks(lo, middle, 1), ...blocks(middle + 1, hi, extra), [lo, hi, extra]];
}

class SingularMerge {
  readonly order: Int32Array;
  readonly #blas: Blas;
  readonly #workspace: Workspace;
  readonly #values: Float64Array;
  readonly #d: Float64Array;
  readonly #e: Float64Array;
  readonly #vectors: SingularVectors;
  readonly #left: number;
  readonly #right: number;
  readonly #halves: number;
  /** d, z, base, tau, corrected z: n numbers each, then 8 of scratch for each lane. */
  readonly #arrays: number;
  readonly #types: Uint8Array;
  readonly #z: Float64Array;

  /** values: d on entry, the singular values of each block that is done. */
  constructor(blas: Blas, workspace: Workspace, values: Float64Array, e: Float64Array, vectors: SingularVectors) {
    const n = values.length;
    this.#blas = blas;
    this.#workspace = workspace;
    this.#values = values;
    this.#d = values.slice();
    this.#e = e;
    this.#vectors = vectors;
    this.#left = workspace.numbers(n * n);
    this.#right = workspace.numbers(n * n);
    this.#halves = workspace.numbers(n * (n + 1));
    this.#arrays = workspace.numbers(5 * n + 8 * blas.lanes.count);
    this.#types = new Uint8Array(n);
    this.#z = new Float64Array(n);
    this.order = Int32Array.from(values, (_, i) => i);
  }

  free(): void {
    for (const at of [this.#left, this.#right, this.#halves, this.#arrays]) this.#workspace.free(at);
  }

  /** One row, of one column or two. */
  leaf(i: number, extra: number): void {
    const { heap } = this.#blas;
    const { v, ldv } = this.#vectors;
    const d = this.#d[i]!;
    const at = (v + i * ldv) / 8 + i;
    if (extra === 0) {
      this.#values[i] = Math.abs(d);
      heap[at] = d < 0 ? -1 : 1;
      return;
    }
    const e = this.#e[i]!;
    const value = length2(d, e);
    this.#values[i] = value;
    heap[at] = d / value;
    heap[at + 1] = e / value;
    heap[at + ldv / 8] = -e / value;
    heap[at + ldv / 8 + 1] = d / value;
  }

  /** Rows lo .. middle - 1, row `middle`, and rows middle + 1 .. hi - 1. */
  join(lo: number, middle: number, hi: number, extra: number): void {
    const d = this.#values;
    // row `middle` is not part of either list
    this.order.copyWithin(middle, middle + 1, hi);
    const list = mergeSorted(d, this.order, lo, middle, hi - 1);
    const { kept, gone } = this.#deflate(lo, middle, hi, extra, list);
    this.#solve(lo, middle, hi, extra, kept, gone);
    const k = kept.length;
    for (let i = lo; i < hi; i++) this.order[i] = i;
    this.order.subarray(lo + k, hi).sort((i, j) => d[i]! - d[j]!);
    this.order.set(mergeSorted(d, this.order, lo, lo + k, hi), lo);
  }

  /** Rows whose singular triple is one already, to rounding, or is made one by a rotation (dlasd2). kept[0] is `middle`, with d = 0. */
  #deflate(
    lo: number,
    middle: number,
    hi: number,
    extra: number,
    list: readonly number[],
  ): { kept: number[]; gone: number[] } {
    const { kernels, heap } = this.#blas;
    const { u, ldu, v, ldv } = this.#vectors;
    const d = this.#values;
    const z = this.#z;
    const types = this.#types;
    const alpha = this.#d[middle]!;
    const beta = middle + 1 < hi + extra ? this.#e[middle]! : 0;
    let most = Math.max(Math.abs(alpha), Math.abs(beta));
    for (const i of list) {
      const top = i < middle;
      z[i] = (top ? alpha : beta) * heap[(v + i * ldv) / 8 + (top ? middle : middle + 1)]!;
      types[i] = top ? TOP : BOTTOM;
      most = Math.max(most, d[i]!);
    }
    const tolerance = 8 * EPS * most;
    const width = hi + extra - lo;
    let first = alpha * heap[(v + middle * ldv) / 8 + middle]!;
    if (extra === 1) {
      const other = beta * heap[(v + hi * ldv) / 8 + middle + 1]!;
      const r = length2(first, other);
      if (r > tolerance) {
        kernels.rotate64(width, v + middle * ldv + 8 * lo, v + hi * ldv + 8 * lo, first / r, other / r);
        first = r;
      }
    }
    z[middle] = Math.abs(first) <= tolerance ? tolerance : first;
    d[middle] = 0;
    const kept = [middle];
    const gone: number[] = [];
    let before = -1;
    for (const i of list) {
      if (Math.abs(z[i]!) <= tolerance) {
        gone.push(i);
        continue;
      }
      if (before >= 0) {
        if (Math.abs(d[i]! - d[before]!) <= tolerance) {
          const r = length2(z[i]!, z[before]!);
          const c = z[i]! / r;
          const s = -z[before]! / r;
          z[i] = r;
          if (types[before] !== types[i]) types[i] = BOTH;
          kernels.rotate64(hi - lo, u + before * ldu + 8 * lo, u + i * ldu + 8 * lo, c, s);
          kernels.rotate64(width, v + before * ldv + 8 * lo, v + i * ldv + 8 * lo, c, s);
          gone.push(before);
        } else kept.push(before);
      }
      before = i;
    }
    if (before >= 0) kept.push(before);
    if (kept.length > 1) d[kept[1]!] = Math.max(d[kept[1]!]!, tolerance / 2);
    return { kept, gone };
  }

  /** Roots, vectors, and the products that turn the blocks' vectors into those of the whole (dlasd3). */
  #solve(lo: number, middle: number, hi: number, extra: number, kept: number[], gone: number[]): void {
    const { lanes, heap } = this.#blas;
    const d = this.#values;
    const k = kept.length;
    const [ds, zs, bases, taus, weights, out] = [0, 1, 2, 3, 4, 5].map((i) => this.#arrays + 8 * i * d.length) as [
      number,
      number,
      number,
      number,
      number,
      number,
    ];
    const shares = this.#blas.shares(k);
    let norm2 = 0;
    kept.forEach((i, j) => {
      norm2 += this.#z[i]! * this.#z[i]!;
      heap[ds / 8 + j] = d[i]!;
      heap[zs / 8 + j] = this.#z[i]!;
    });
    lanes.run('secularSingular', shares, (first, last, lane) => [
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
    lanes.run('weightsSingular', shares, (first, last) => [first, last, k, ds, zs, bases, taus, weights]);

    // columns by type, so that each half meets only the rows that are not zero there; row `middle` may be in both
    this.#types[middle] = BOTH;
    const sorted = kept.map((_, j) => j).sort((i, j) => this.#types[kept[i]!]! - this.#types[kept[j]!]! || i - j);
    const tops = kept.filter((i) => this.#types[i] === TOP).length;
    const bottoms = kept.filter((i) => this.#types[i] === BOTTOM).length;
    const permuted = [new Float64Array(k), new Float64Array(k)] as const;
    sorted.forEach((j, at) => {
      permuted[0][at] = heap[ds / 8 + j]!;
      permuted[1][at] = heap[weights / 8 + j]!;
    });
    heap.set(permuted[0], ds / 8);
    heap.set(permuted[1], zs / 8);
    const [left, right] = [this.#left, this.#right];
    lanes.run('vectorsSingular', shares, (first, last) => [
      first,
      last,
      k,
      tops,
      ds,
      zs,
      bases,
      taus,
      left,
      right,
      8 * k,
    ]);

    const { u, ldu, v, ldv } = this.#vectors;
    const rows = sorted.map((j) => kept[j]!);
    const halves = { lo, rows, gone, tops, bottoms };
    // the unit vector of row `middle` in U is put in by hand
    heap[(u + middle * ldu) / 8 + middle] = 0;
    this.#product(u, ldu, left, { ...halves, middle, hi });
    for (let i = 0; i < k; i++) heap[(u + (lo + i) * ldu) / 8 + middle] = heap[left / 8 + i * k + tops]!;
    for (let i = lo + k; i < hi; i++) heap[(u + i * ldu) / 8 + middle] = 0;
    this.#product(v, ldv, right, { ...halves, middle: middle + 1, hi: hi + extra });
    const values = gone.map((i) => d[i]!);
    for (let i = 0; i < k; i++) d[lo + i] = heap[bases / 8 + i]! + heap[taus / 8 + i]!;
    d.set(values, lo + k);
  }

  /** Rows lo .. of x become s times the rows `rows`, then the rows `gone`; columns lo .. middle - 1 and middle .. hi - 1 each for themselves. */
  #product(
    x: number,
    ld: number,
    s: number,
    halves: { lo: number; middle: number; hi: number; rows: number[]; gone: number[]; tops: number; bottoms: number },
  ): void {
    const blas = this.#blas;
    const { heap } = blas;
    const { lo, middle, hi, rows, gone, tops, bottoms } = halves;
    const k = rows.length;
    const size = [middle - lo, hi - middle] as const;
    const lower = this.#halves + 8 * (k - bottoms) * size[0];
    const rest = lower + 8 * (k - tops) * size[1];
    rows.forEach((row, at) => {
      const from = (x + row * ld) / 8;
      if (at < k - bottoms) heap.copyWithin(this.#halves / 8 + at * size[0], from + lo, from + middle);
      if (at >= tops) heap.copyWithin(lower / 8 + (at - tops) * size[1], from + middle, from + hi);
    });
    gone.forEach((row, at) => {
      heap.copyWithin(rest / 8 + at * (hi - lo), (x + row * ld) / 8 + lo, (x + row * ld) / 8 + hi);
    });
    gone.forEach((_, at) => {
      const from = rest / 8 + at * (hi - lo);
      heap.copyWithin((x + (lo + k + at) * ld) / 8 + lo, from, from + hi - lo);
    });
    const to = x + lo * ld;
    blas.gemm(k, size[0], k - bottoms, 1, plain(s, 8 * k), plain(this.#halves, 8 * size[0]), to + 8 * lo, ld, false);
    blas.gemm(
      k,
      size[1],
      k - tops,
      1,
      plain(s + 8 * tops, 8 * k),
      plain(lower, 8 * size[1]),
      to + 8 * middle,
      ld,
      false,
    );
  }
}
