/** f64 vector and matrix-vector operations (levels 1 and 2 of BLAS) on rows that are contiguous; ld in bytes between rows. */

import { madd64, sum2 } from './math64';

/** Σ x_i y_i. */
export function dot64(n: i32, x: usize, y: usize): f64 {
  let s0 = f64x2.splat(0), s1 = f64x2.splat(0), s2 = f64x2.splat(0), s3 = f64x2.splat(0);
  let i = n;
  for (; i >= 8; i -= 8, x += 64, y += 64) {
    s0 = madd64(v128.load(x), v128.load(y), s0);
    s1 = madd64(v128.load(x, 16), v128.load(y, 16), s1);
    s2 = madd64(v128.load(x, 32), v128.load(y, 32), s2);
    s3 = madd64(v128.load(x, 48), v128.load(y, 48), s3);
  }
  let sum = sum2(f64x2.add(f64x2.add(s0, s1), f64x2.add(s2, s3)));
  for (; i > 0; i--, x += 8, y += 8) sum += load<f64>(x) * load<f64>(y);
  return sum;
}

/** y += alpha x. */
export function axpy64(n: i32, alpha: f64, x: usize, y: usize): void {
  const factor = f64x2.splat(alpha);
  let i = n;
  for (; i >= 2; i -= 2, x += 16, y += 16) v128.store(y, madd64(factor, v128.load(x), v128.load(y)));
  if (i > 0) store<f64>(y, load<f64>(y) + alpha * load<f64>(x));
}

/** x *= alpha. */
export function scale64(n: i32, alpha: f64, x: usize): void {
  const factor = f64x2.splat(alpha);
  let i = n;
  for (; i >= 2; i -= 2, x += 16) v128.store(x, f64x2.mul(factor, v128.load(x)));
  if (i > 0) store<f64>(x, alpha * load<f64>(x));
}

/** Givens rotation of two rows: x' = c x + s y, y' = c y - s x. */
export function rotate64(n: i32, x: usize, y: usize, c: f64, s: f64): void {
  const cc = f64x2.splat(c), ss = f64x2.splat(s);
  let i = n;
  for (; i >= 2; i -= 2, x += 16, y += 16) {
    const u = v128.load(x), v = v128.load(y);
    v128.store(x, madd64(ss, v, f64x2.mul(cc, u)));
    v128.store(y, f64x2.sub(f64x2.mul(cc, v), f64x2.mul(ss, u)));
  }
  if (i > 0) {
    const u = load<f64>(x), v = load<f64>(y);
    store<f64>(x, c * u + s * v);
    store<f64>(y, c * v - s * u);
  }
}

/** y_i (+)= alpha · (row i of A) · x for rows first .. last - 1; A [rows, n]. */
export function gemv64(
  first: i32, last: i32, n: i32, alpha: f64, a: usize, ld: usize, x: usize, y: usize, accumulate: i32,
): void {
  let i = first;
  for (; i + 4 <= last; i += 4) {
    let p0 = a + <usize>i * ld, p1 = p0 + ld, p2 = p1 + ld, p3 = p2 + ld, q = x, j = n;
    let s0 = f64x2.splat(0), s1 = f64x2.splat(0), s2 = f64x2.splat(0), s3 = f64x2.splat(0);
    let t0 = f64x2.splat(0), t1 = f64x2.splat(0), t2 = f64x2.splat(0), t3 = f64x2.splat(0);
    for (; j >= 4; j -= 4, p0 += 32, p1 += 32, p2 += 32, p3 += 32, q += 32) {
      let v = v128.load(q);
      s0 = madd64(v128.load(p0), v, s0);
      s1 = madd64(v128.load(p1), v, s1);
      s2 = madd64(v128.load(p2), v, s2);
      s3 = madd64(v128.load(p3), v, s3);
      v = v128.load(q, 16);
      t0 = madd64(v128.load(p0, 16), v, t0);
      t1 = madd64(v128.load(p1, 16), v, t1);
      t2 = madd64(v128.load(p2, 16), v, t2);
      t3 = madd64(v128.load(p3, 16), v, t3);
    }
    let d0 = sum2(f64x2.add(s0, t0)), d1 = sum2(f64x2.add(s1, t1));
    let d2 = sum2(f64x2.add(s2, t2)), d3 = sum2(f64x2.add(s3, t3));
    for (; j > 0; j--, p0 += 8, p1 += 8, p2 += 8, p3 += 8, q += 8) {
      const v = load<f64>(q);
      d0 += load<f64>(p0) * v;
      d1 += load<f64>(p1) * v;
      d2 += load<f64>(p2) * v;
      d3 += load<f64>(p3) * v;
    }
    const to = y + (<usize>i << 3);
    store<f64>(to, alpha * d0 + (accumulate ? load<f64>(to) : 0));
    store<f64>(to, alpha * d1 + (accumulate ? load<f64>(to, 8) : 0), 8);
    store<f64>(to, alpha * d2 + (accumulate ? load<f64>(to, 16) : 0), 16);
    store<f64>(to, alpha * d3 + (accumulate ? load<f64>(to, 24) : 0), 24);
  }
  for (; i < last; i++) {
    const to = y + (<usize>i << 3);
    store<f64>(to, alpha * dot64(n, a + <usize>i * ld, x) + (accumulate ? load<f64>(to) : 0));
  }
}

/** y[n] += alpha · Σ_i x_i (row i of A), i = 0 .. rows - 1. Columns can be shared out by moving a and y. */
export function gemvT64(rows: i32, n: i32, alpha: f64, a: usize, ld: usize, x: usize, y: usize): void {
  let i = 0;
  for (; i + 4 <= rows; i += 4, a += 4 * ld, x += 32) {
    const x0 = alpha * load<f64>(x), x1 = alpha * load<f64>(x, 8);
    const x2 = alpha * load<f64>(x, 16), x3 = alpha * load<f64>(x, 24);
    const v0 = f64x2.splat(x0), v1 = f64x2.splat(x1), v2 = f64x2.splat(x2), v3 = f64x2.splat(x3);
    let p0 = a, p1 = p0 + ld, p2 = p1 + ld, p3 = p2 + ld, q = y, j = n;
    for (; j >= 2; j -= 2, p0 += 16, p1 += 16, p2 += 16, p3 += 16, q += 16) {
      let s = madd64(v0, v128.load(p0), v128.load(q));
      s = madd64(v1, v128.load(p1), s);
      s = madd64(v2, v128.load(p2), s);
      v128.store(q, madd64(v3, v128.load(p3), s));
    }
    if (j > 0) {
      store<f64>(q, load<f64>(q) + x0 * load<f64>(p0) + x1 * load<f64>(p1) + x2 * load<f64>(p2) + x3 * load<f64>(p3));
    }
  }
  for (; i < rows; i++, a += ld, x += 8) axpy64(n, alpha * load<f64>(x), a, y);
}

/** Rows first .. last - 1 of A += alpha x y^T; A [rows, n]. */
export function ger64(first: i32, last: i32, n: i32, alpha: f64, x: usize, y: usize, a: usize, ld: usize): void {
  let i = first;
  for (; i + 2 <= last; i += 2) {
    const x0 = alpha * load<f64>(x + (<usize>i << 3)), x1 = alpha * load<f64>(x + (<usize>i << 3), 8);
    const v0 = f64x2.splat(x0), v1 = f64x2.splat(x1);
    let p0 = a + <usize>i * ld, p1 = p0 + ld, q = y, j = n;
    for (; j >= 2; j -= 2, p0 += 16, p1 += 16, q += 16) {
      const v = v128.load(q);
      v128.store(p0, madd64(v0, v, v128.load(p0)));
      v128.store(p1, madd64(v1, v, v128.load(p1)));
    }
    if (j > 0) {
      store<f64>(p0, load<f64>(p0) + x0 * load<f64>(q));
      store<f64>(p1, load<f64>(p1) + x1 * load<f64>(q));
    }
  }
  for (; i < last; i++) axpy64(n, alpha * load<f64>(x + (<usize>i << 3)), y, a + <usize>i * ld);
}

/**
 * y += A x for symmetric A [n, n] of which the upper triangle is read, once: rows first .. last - 1 give both their dot products and
 * their share of the rows below. A lane needs a y of its own.
 */
export function symv64(first: i32, last: i32, n: i32, a: usize, ld: usize, x: usize, y: usize): void {
  let i = first;
  for (; i + 4 <= last; i += 4) {
    const at = <usize>i << 3;
    let p0 = a + <usize>i * ld + at, p1 = p0 + ld, p2 = p1 + ld, p3 = p2 + ld;
    const x0 = load<f64>(x + at), x1 = load<f64>(x + at, 8), x2 = load<f64>(x + at, 16), x3 = load<f64>(x + at, 24);
    const a01 = load<f64>(p0, 8), a02 = load<f64>(p0, 16), a03 = load<f64>(p0, 24);
    const a12 = load<f64>(p1, 16), a13 = load<f64>(p1, 24), a23 = load<f64>(p2, 24);
    let d0 = load<f64>(p0) * x0 + a01 * x1 + a02 * x2 + a03 * x3;
    let d1 = a01 * x0 + load<f64>(p1, 8) * x1 + a12 * x2 + a13 * x3;
    let d2 = a02 * x0 + a12 * x1 + load<f64>(p2, 16) * x2 + a23 * x3;
    let d3 = a03 * x0 + a13 * x1 + a23 * x2 + load<f64>(p3, 24) * x3;
    const v0 = f64x2.splat(x0), v1 = f64x2.splat(x1), v2 = f64x2.splat(x2), v3 = f64x2.splat(x3);
    let s0 = f64x2.splat(0), s1 = f64x2.splat(0), s2 = f64x2.splat(0), s3 = f64x2.splat(0);
    let q = x + at + 32, to = y + at + 32, j = n - i - 4;
    p0 += 32; p1 += 32; p2 += 32; p3 += 32;
    for (; j >= 2; j -= 2, p0 += 16, p1 += 16, p2 += 16, p3 += 16, q += 16, to += 16) {
      const v = v128.load(q);
      let w = v128.load(to), r = v128.load(p0);
      s0 = madd64(r, v, s0);
      w = madd64(r, v0, w);
      r = v128.load(p1);
      s1 = madd64(r, v, s1);
      w = madd64(r, v1, w);
      r = v128.load(p2);
      s2 = madd64(r, v, s2);
      w = madd64(r, v2, w);
      r = v128.load(p3);
      s3 = madd64(r, v, s3);
      v128.store(to, madd64(r, v3, w));
    }
    d0 += sum2(s0); d1 += sum2(s1); d2 += sum2(s2); d3 += sum2(s3);
    if (j > 0) {
      const v = load<f64>(q), r0 = load<f64>(p0), r1 = load<f64>(p1), r2 = load<f64>(p2), r3 = load<f64>(p3);
      d0 += r0 * v; d1 += r1 * v; d2 += r2 * v; d3 += r3 * v;
      store<f64>(to, load<f64>(to) + r0 * x0 + r1 * x1 + r2 * x2 + r3 * x3);
    }
    const own = y + at;
    store<f64>(own, load<f64>(own) + d0);
    store<f64>(own, load<f64>(own, 8) + d1, 8);
    store<f64>(own, load<f64>(own, 16) + d2, 16);
    store<f64>(own, load<f64>(own, 24) + d3, 24);
  }
  for (; i < last; i++) {
    const at = <usize>i << 3, p = a + <usize>i * ld + at;
    store<f64>(y + at, load<f64>(y + at) + dot64(n - i, p, x + at));
    axpy64(n - i - 1, load<f64>(x + at), p + 8, y + at + 8);
  }
}
