/** Root-mean-square normalisation (Zhang and Sennrich 2019): y = x / sqrt(mean(x²) + eps) · weight. */
import { madd, sum4 } from './math';

// @ts-ignore: decorator
@inline
function inverseRms(x: usize, n: i32, eps: f32): f32 {
  let a = f32x4.splat(0), b = a, p = x, i = n;
  for (; i >= 8; i -= 8, p += 32) {
    const u = v128.load(p), v = v128.load(p, 16);
    a = madd(u, u, a);
    b = madd(v, v, b);
  }
  let sum: f64 = sum4(f32x4.add(a, b));
  for (; i > 0; i--, p += 4) sum += <f64>load<f32>(p) * <f64>load<f32>(p);
  return <f32>(1 / Math.sqrt(sum / n + eps));
}

// @ts-ignore: decorator
@inline
function scaleRow(x: usize, n: i32, factor: f32, weight: usize, y: usize): void {
  const f = f32x4.splat(factor);
  let i = n;
  for (; i >= 4; i -= 4, x += 16, weight += 16, y += 16) {
    v128.store(y, f32x4.mul(f32x4.mul(v128.load(x), f), v128.load(weight)));
  }
  for (; i > 0; i--, x += 4, weight += 4, y += 4) store<f32>(y, load<f32>(x) * factor * load<f32>(weight));
}

/** Rows first..last-1 of n elements each, xStride and yStride bytes apart. weight [n]. In place when x = y. */
export function rmsNorm(
  first: i32, last: i32, n: i32, eps: f32, x: usize, xStride: usize, weight: usize, y: usize, yStride: usize,
): void {
  for (let r = first; r < last; r++) {
    const row = x + <usize>r * xStride;
    scaleRow(row, n, inverseRms(row, n, eps), weight, y + <usize>r * yStride);
  }
}

/**
 * Of rmsNorm, over rows first..last-1: with r = inverseRms(x) and g = weight · dY, dX += r g - x r³ / n Σ g x. inverses: 0, or [rows] f32 for r,
 * of which rmsNormBackwardWeight makes the gradient of the weight. All strides are of n elements.
 */
export function rmsNormBackward(
  first: i32, last: i32, n: i32, eps: f32, x: usize, weight: usize, dY: usize, dX: usize, inverses: usize,
): void {
  const bytes = <usize>n << 2, whole = <usize>(n & ~3) << 2;
  for (let row = first; row < last; row++) {
    const at = <usize>row * bytes, xs = x + at, ys = dY + at, to = dX + at, r = inverseRms(xs, n, eps);
    let sum4s = f32x4.splat(0), i: usize = 0;
    for (; i < whole; i += 16) {
      sum4s = madd(f32x4.mul(v128.load(weight + i), v128.load(ys + i)), v128.load(xs + i), sum4s);
    }
    let sum: f64 = sum4(sum4s);
    for (; i < bytes; i += 4) sum += <f64>load<f32>(weight + i) * load<f32>(ys + i) * load<f32>(xs + i);
    const back = -<f32>(<f64>r * r * r * sum / n), r4 = f32x4.splat(r), back4 = f32x4.splat(back);
    for (i = 0; i < whole; i += 16) {
      const g = f32x4.mul(v128.load(weight + i), v128.load(ys + i));
      v128.store(to + i, f32x4.add(v128.load(to + i), madd(v128.load(xs + i), back4, f32x4.mul(g, r4))));
    }
    for (; i < bytes; i += 4) {
      const g = load<f32>(weight + i) * load<f32>(ys + i);
      store<f32>(to + i, load<f32>(to + i) + g * r + load<f32>(xs + i) * back);
    }
    if (inverses) store<f32>(inverses + (<usize>row << 2), r);
  }
}

/** Rows that are summed before they are added to what is there: they stay in level 2, and the sums of many rows keep their digits. */
const SUMMED: i32 = 32;

/** dWeight [n] += Σ over rows of dY · x · inverse, of columns first..last-1: lanes share columns, so that rows are summed in their order. */
export function rmsNormBackwardWeight(
  first: i32, last: i32, rows: i32, n: i32, x: usize, dY: usize, inverses: usize, dWeight: usize,
): void {
  const stride = <usize>n << 2, end = <usize>last << 2;
  for (let r0 = 0; r0 < rows; r0 += SUMMED) {
    const below = min(r0 + SUMMED, rows), from = <usize>r0 * stride;
    let c = <usize>first << 2;
    for (; c + 16 <= end; c += 16) {
      let sum = f32x4.splat(0), at = from + c;
      for (let r = r0; r < below; r++, at += stride) {
        sum = madd(f32x4.mul(v128.load(x + at), v128.load32_splat(inverses + (<usize>r << 2))), v128.load(dY + at), sum);
      }
      v128.store(dWeight + c, f32x4.add(v128.load(dWeight + c), sum));
    }
    for (; c < end; c += 4) {
      let sum: f32 = 0, at = from + c;
      for (let r = r0; r < below; r++, at += stride) {
        sum += load<f32>(x + at) * load<f32>(inverses + (<usize>r << 2)) * load<f32>(dY + at);
      }
      store<f32>(dWeight + c, load<f32>(dWeight + c) + sum);
    }
  }
}

/** residual += x, then y = rmsNorm(residual): one pass less over memory for the seam between two layers. */
export function addRmsNorm(
  first: i32, last: i32, n: i32, eps: f32, x: usize, residual: usize, weight: usize, y: usize, stride: usize,
): void {
  for (let r = first; r < last; r++) {
    const at = <usize>r * stride;
    const to = residual + at, from = x + at;
    let i: usize = 0;
    const bytes = <usize>n << 2;
    for (; i + 16 <= bytes; i += 16) v128.store(to + i, f32x4.add(v128.load(to + i), v128.load(from + i)));
    for (; i < bytes; i += 4) store<f32>(to + i, load<f32>(to + i) + load<f32>(from + i));
    scaleRow(to, n, inverseRms(to, n, eps), weight, y + at);
  }
}
