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
