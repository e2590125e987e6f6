/**
 * One-sided Jacobi (Hestenes 1958; Drmac and Veselic 2008, LAPACK dgesvj): plane rotations make the rows of G orthogonal to each other;
 * their norms are then singular values. Norms are kept unsquared, so small rows next to large ones lose nothing.
 */
import { dot64 } from './blas64';
import { madd64 } from './math64';

/** Euclidean norms of rows first .. last - 1 of G [rows, n]. */
export function norms64(first: i32, last: i32, n: i32, g: usize, ldg: usize, norms: usize): void {
  for (let i = first; i < last; i++) {
    const row = g + <usize>i * ldg;
    store<f64>(norms + (<usize>i << 3), sqrt(dot64(n, row, row)));
  }
}

/**
 * Rotation by a small angle: x' = x - s (y + tau x), y' = y + s (x - tau y), tau = tan of half the angle (Rutishauser 1966). Thousands of
 * rotations by c, s with c rounded to 1 would let the norms drift.
 */
export function turn64(n: i32, x: usize, y: usize, s: f64, tau: f64): void {
  const ss = f64x2.splat(s), minus = f64x2.splat(-s), t = f64x2.splat(tau), back = f64x2.splat(-tau);
  let i = n;
  for (; i >= 2; i -= 2, x += 16, y += 16) {
    const u = v128.load(x), w = v128.load(y);
    v128.store(x, madd64(minus, madd64(t, u, w), u));
    v128.store(y, madd64(ss, madd64(back, w, u), w));
  }
  if (i > 0) {
    const u = load<f64>(x), w = load<f64>(y);
    store<f64>(x, u - s * (w + tau * u));
    store<f64>(y, w + s * (u - tau * w));
  }
}

/**
 * Rotates every pair of a row i of firstI .. lastI - 1 and a row j of firstJ .. lastJ - 1, i < j, whose cosine is above `tolerance`, in G
 * [rows, n] and in V [rows, width]. norms: of the rows of G, kept up to date. out: the largest cosine is raised into the f64 there.
 * Calls of disjoint rows may go on at once.
 */
export function jacobi64(
  firstI: i32, lastI: i32, firstJ: i32, lastJ: i32, n: i32, g: usize, ldg: usize, norms: usize, v: usize, ldv: usize,
  width: i32, tolerance: f64, out: usize,
): void {
  let most = load<f64>(out);
  for (let i = firstI; i < lastI; i++) {
    const x = g + <usize>i * ldg, normX = norms + (<usize>i << 3);
    for (let j = max(firstJ, i + 1); j < lastJ; j++) {
      const y = g + <usize>j * ldg, normY = norms + (<usize>j << 3);
      const a = load<f64>(normX), b = load<f64>(normY);
      if (a == 0 || b == 0) continue;
      const cosine = dot64(n, x, y) / a / b;
      if (abs(cosine) > most) most = abs(cosine);
      if (abs(cosine) <= tolerance) continue;
      // the smaller angle that makes the pair orthogonal (Golub and Van Loan 8.6.3), by the ratio of the norms
      const down = b / a, up = a / b, zeta = 0.5 * (down - up) / cosine;
      const size = abs(zeta), t = copysign<f64>(size > 1e8 ? 0.5 / size : 1 / (size + sqrt(1 + size * size)), zeta);
      const c = 1 / sqrt(1 + t * t), s = c * t;
      turn64(n, x, y, s, s / (1 + c));
      turn64(width, v + <usize>i * ldv, v + <usize>j * ldv, s, s / (1 + c));
      const shareX = 1 - t * cosine * down, shareY = 1 + t * cosine * up;
      // a norm that falls a lot is measured again: its update has lost digits
      store<f64>(normX, shareX > 0.1 ? a * sqrt(shareX) : sqrt(dot64(n, x, x)));
      store<f64>(normY, shareY > 0.1 ? b * sqrt(shareY) : sqrt(dot64(n, y, y)));
    }
  }
  store<f64>(out, most);
}
