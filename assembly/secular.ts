/**
 * The secular equation of divide and conquer, for eigenvalues of D + z z^T and for singular values of [z^T; D] (whose squares
 * are eigenvalues of D^2 + z z^T; d_0 = 0):
 *
 *   f(x) = 1 + sum_j z_j^2 / (d_j - x),   or   1 + sum_j z_j^2 / ((d_j - s)(d_j + s)),   d ascending and distinct, z_j != 0.
 *
 * Root i lies between d_i and d_(i+1), the last one between d_(k-1) and its bound. It is kept as (base, tau): base the pole next to it,
 * tau the distance, so that d_j - x = (d_j - base) - tau has a small relative error. Rational interpolation by "the middle way" (Li 1993,
 * LAPACK dlaed4 and dlasd4) inside a bracket, bisected where a step leaves it. The vectors are those of the z for which the computed
 * roots are exact (Gu and Eisenstat 1994, 1995), hence orthogonal to working accuracy.
 *
 * Type parameter of the functions: one byte wide for singular values, two for eigenvalues.
 */
import { sum2 } from './math64';

const EPS: f64 = 1.1102230246251565e-16;

/** Sum, derivative and rounding error of one side: where `side` leaves them. */
const SUM: usize = 0;
const SLOPE: usize = 8;
const ERROR: usize = 16;

/** The terms of `count` poles from address d on, in steps of 8 bytes up or down, so that the largest terms come last. */
function side<S>(count: i32, down: bool, d: usize, z: usize, base: f64, tau: f64, out: usize): void {
  let sum: f64 = 0, slope: f64 = 0, error: f64 = 0;
  if (count & 1) {
    const v = load<f64>(d);
    let p = v - base - tau;
    if (sizeof<S>() == 1) p *= v + base + tau;
    const w = load<f64>(z), t = w / p;
    sum = w * t;
    slope = t * t;
    error = sum;
    d += down ? <usize>-8 : 8;
    z += down ? <usize>-8 : 8;
  }
  if (down) {
    d -= 8;
    z -= 8;
  }
  const step: usize = down ? <usize>-16 : 16;
  const b = f64x2.splat(base), t0 = f64x2.splat(tau);
  let s = f64x2.splat(0), g = f64x2.splat(0), e = f64x2.splat(0);
  for (let n = count >> 1; n > 0; n--, d += step, z += step) {
    const v = v128.load(d);
    let p = f64x2.sub(f64x2.sub(v, b), t0);
    if (sizeof<S>() == 1) p = f64x2.mul(p, f64x2.add(f64x2.add(v, b), t0));
    const w = v128.load(z), t = f64x2.div(w, p);
    s = f64x2.add(s, f64x2.mul(w, t));
    g = f64x2.add(g, f64x2.mul(t, t));
    e = f64x2.add(e, s);
  }
  store<f64>(out, sum + sum2(s), SUM);
  store<f64>(out, slope + sum2(g), SLOPE);
  store<f64>(out, abs(error) + abs(sum2(e)), ERROR);
}

/** d_j - x, or d_j^2 - x^2. */
// @ts-ignore: decorator
@inline
function gap<S>(d: f64, base: f64, tau: f64): f64 {
  const p = d - base - tau;
  return sizeof<S>() == 1 ? p * (d + base + tau) : p;
}

/** A step in x^2 from x as a step in x. */
// @ts-ignore: decorator
@inline
function unsquare<S>(x: f64, step: f64): f64 {
  return sizeof<S>() == 1 ? step / (x + sqrt(x * x + step)) : step;
}

function root<S>(i: i32, k: i32, norm2: f64, d: usize, z: usize, bases: usize, taus: usize, out: usize): void {
  const place = <usize>i << 3;
  const own = load<f64>(d + place);
  if (k == 1) {
    store<f64>(bases, own);
    store<f64>(taus, unsquare<S>(own, norm2));
    return;
  }
  // the two poles of the interpolation: around the root, or for the last root the two below it
  const last = i == k - 1, p = last ? i - 1 : i;
  const atP = d + (<usize>p << 3), weightP = z + (<usize>p << 3);
  const dp = load<f64>(atP), dq = load<f64>(atP, 8);
  const zp = load<f64>(weightP) * load<f64>(weightP), zq = load<f64>(weightP, 8) * load<f64>(weightP, 8);
  const width = sizeof<S>() == 1 ? (dq - dp) * (dq + dp) : dq - dp;
  const endD = d + (<usize>(k - 1) << 3), endZ = z + (<usize>(k - 1) << 3);
  const below = out, above = out + 32;

  // the middle decides which pole is next to the root; with the other terms as they are there, two poles give a first guess
  let base = own, lo: f64 = 0, hi: f64 = unsquare<S>(own, last ? norm2 : width);
  let tau = last ? unsquare<S>(own, 0.5 * norm2) : unsquare<S>(own, 0.5 * width);
  side<S>(p + 1, false, d, z, base, tau, below);
  side<S>(k - 1 - p, true, endD, endZ, base, tau, above);
  let w = 1 + load<f64>(below) + load<f64>(above);
  let c = w - zp / gap<S>(dp, base, tau) - zq / gap<S>(dq, base, tau);
  let guess: f64;
  if (last) {
    const a = zp + zq - c * width, b = zq * width, r = sqrt(abs(a * a + 4 * b * c));
    guess = a < 0 ? 2 * b / (r - a) : (a + r) / (2 * c);
    if (w <= 0) lo = tau;
    else hi = tau;
  } else if (w > 0) {
    const a = c * width + zp + zq, b = zp * width, r = sqrt(abs(a * a - 4 * b * c));
    guess = a > 0 ? 2 * b / (a + r) : (a - r) / (2 * c);
    hi = tau;
  } else {
    const a = c * width - zp - zq, b = zq * width, r = sqrt(abs(a * a + 4 * b * c));
    guess = a < 0 ? 2 * b / (a - r) : -(a + r) / (2 * c);
    base = dq;
    lo = sizeof<S>() == 1 ? -0.5 * width / (dq + (own + tau)) : -0.5 * width;
    hi = 0;
  }
  tau = unsquare<S>(base, guess);
  if (!(tau > lo && tau < hi)) tau = 0.5 * (lo + hi);

  let before = Infinity, fixed = false;
  for (let round = 0; round < 200; round++) {
    side<S>(p + 1, false, d, z, base, tau, below);
    side<S>(k - 1 - p, true, endD, endZ, base, tau, above);
    const psi = load<f64>(below), phi = load<f64>(above);
    const slopeP = load<f64>(below, SLOPE), slopeQ = load<f64>(above, SLOPE), slope = slopeP + slopeQ;
    w = 1 + psi + phi;
    const x = base + tau, reach = sizeof<S>() == 1 ? 2 * x : 1;
    const error = 8 * (abs(psi) + abs(phi)) + load<f64>(below, ERROR) + load<f64>(above, ERROR) + 2 + abs(tau) * reach * slope;
    if (abs(w) <= EPS * error) break;
    if (w <= 0) lo = tau;
    else hi = tau;
    if (abs(w) > 0.1 * before) fixed = !fixed;
    before = abs(w);

    const gp = gap<S>(dp, base, tau), gq = gap<S>(dq, base, tau);
    if (!fixed || last) c = w - gp * slopeP - gq * slopeQ;
    else if (base == dp) c = w - gq * slope + width * (zp / (gp * gp));
    else c = w - gp * slope - width * (zq / (gq * gq));
    const a = (gp + gq) * w - gp * gq * slope, b = gp * gq * w, r = sqrt(abs(a * a - 4 * b * c));
    let step: f64;
    if (last) step = a >= 0 ? (a + r) / (2 * c) : 2 * b / (a - r);
    else step = a <= 0 ? (a - r) / (2 * c) : 2 * b / (a + r);
    if (!(w * step < 0)) step = -w / slope;
    let next = tau + unsquare<S>(x, step);
    if (!(next > lo && next < hi) || round > 40) {
      if (lo > 0) next = sqrt(lo) * sqrt(hi);
      else if (hi < 0) next = -sqrt(-lo) * sqrt(-hi);
      else next = 0.5 * (lo + hi);
      if (!(next > lo && next < hi)) break;
    }
    tau = next;
  }
  store<f64>(bases + place, base);
  store<f64>(taus + place, tau);
}

/**
 * Roots first .. last - 1 of k: bases and taus [k]. d, z [k]; norm2: sum of z^2. out: 64 bytes of scratch.
 */
export function secularEigen(
  first: i32, last: i32, k: i32, norm2: f64, d: usize, z: usize, bases: usize, taus: usize, out: usize,
): void {
  for (let i = first; i < last; i++) root<u16>(i, k, norm2, d, z, bases, taus, out);
}
export function secularSingular(
  first: i32, last: i32, k: i32, norm2: f64, d: usize, z: usize, bases: usize, taus: usize, out: usize,
): void {
  for (let i = first; i < last; i++) root<u8>(i, k, norm2, d, z, bases, taus, out);
}

/** The z that has the computed roots, by Loewner's formula, with the signs of z: weights[j], first <= j < last. */
// @ts-ignore: decorator
@inline
function weights<S>(first: i32, last: i32, k: i32, d: usize, z: usize, bases: usize, taus: usize, to: usize): void {
  for (let j = first; j < last; j += 2) {
    const pair = j + 1 < last, at = <usize>j << 3;
    const v = pair ? v128.load(d + at) : v128.load64_splat(d + at);
    let product = f64x2.splat(1);
    for (let i = 0, o: usize = 0; i < k; i++, o += 8) {
      const b = v128.load64_splat(bases + o), t = v128.load64_splat(taus + o), e = v128.load64_splat(d + o);
      let above = f64x2.sub(f64x2.sub(v, b), t), under = f64x2.sub(v, e);
      if (sizeof<S>() == 1) {
        above = f64x2.mul(above, f64x2.add(f64x2.add(v, b), t));
        under = f64x2.mul(under, f64x2.add(v, e));
      }
      if (i == j) under = f64x2.replace_lane(under, 0, 1);
      else if (i == j + 1) under = f64x2.replace_lane(under, 1, 1);
      product = f64x2.mul(product, f64x2.div(above, under));
    }
    product = f64x2.sqrt(f64x2.abs(product));
    store<f64>(to + at, copysign<f64>(f64x2.extract_lane(product, 0), load<f64>(z + at)));
    if (pair) store<f64>(to + at, copysign<f64>(f64x2.extract_lane(product, 1), load<f64>(z + at, 8)), 8);
  }
}
export function weightsEigen(
  first: i32, last: i32, k: i32, d: usize, z: usize, bases: usize, taus: usize, to: usize,
): void {
  weights<u16>(first, last, k, d, z, bases, taus, to);
}
export function weightsSingular(
  first: i32, last: i32, k: i32, d: usize, z: usize, bases: usize, taus: usize, to: usize,
): void {
  weights<u8>(first, last, k, d, z, bases, taus, to);
}

/**
 * Rows first .. last - 1 of the vectors [k, k], normalised: row i is z_j / (d_j - x_i). d and z may be in any one order, which is
 * that of the columns. ld: bytes between rows.
 */
export function vectorsEigen(
  first: i32, last: i32, k: i32, d: usize, z: usize, bases: usize, taus: usize, to: usize, ld: usize,
): void {
  for (let i = first; i < last; i++) {
    const o = <usize>i << 3, base = load<f64>(bases + o), tau = load<f64>(taus + o), row = to + <usize>i * ld;
    const b = f64x2.splat(base), t = f64x2.splat(tau);
    let norm = f64x2.splat(0), j = 0;
    for (; j + 2 <= k; j += 2) {
      const at = <usize>j << 3;
      const v = f64x2.div(v128.load(z + at), f64x2.sub(f64x2.sub(v128.load(d + at), b), t));
      norm = f64x2.add(norm, f64x2.mul(v, v));
      v128.store(row + at, v);
    }
    let sum = sum2(norm);
    if (j < k) {
      const at = <usize>j << 3, v = load<f64>(z + at) / (load<f64>(d + at) - base - tau);
      sum += v * v;
      store<f64>(row + at, v);
    }
    multiply(k, 1 / sqrt(sum), row);
  }
}

/** The same for singular values: right vectors z_j / (d_j^2 - x_i^2), left ones d_j times that and -1 in column `zero`, where d is 0. */
export function vectorsSingular(
  first: i32, last: i32, k: i32, zero: i32, d: usize, z: usize, bases: usize, taus: usize, left: usize, right: usize,
  ld: usize,
): void {
  for (let i = first; i < last; i++) {
    const o = <usize>i << 3, base = load<f64>(bases + o), tau = load<f64>(taus + o);
    const u = left + <usize>i * ld, r = right + <usize>i * ld;
    let sumU: f64 = 1, sumR: f64 = 0;
    for (let j = 0; j < k; j++) {
      const at = <usize>j << 3, e = load<f64>(d + at);
      const v = load<f64>(z + at) / ((e - base - tau) * (e + base + tau));
      sumR += v * v;
      sumU += e * v * e * v;
      store<f64>(r + at, v);
      store<f64>(u + at, e * v);
    }
    store<f64>(u + (<usize>zero << 3), -1);
    multiply(k, 1 / sqrt(sumR), r);
    multiply(k, 1 / sqrt(sumU), u);
  }
}

// @ts-ignore: decorator
@inline
function multiply(n: i32, factor: f64, x: usize): void {
  const f = f64x2.splat(factor);
  let i = n;
  for (; i >= 2; i -= 2, x += 16) v128.store(x, f64x2.mul(f, v128.load(x)));
  if (i > 0) store<f64>(x, factor * load<f64>(x));
}
