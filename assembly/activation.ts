/** Elementwise operations. Ranges are in elements; n need not be a multiple of four. */
import { exp4, max4, sigmoid4, sum4 } from './math';

// @ts-ignore: decorator
@inline
function silu4(x: v128): v128 {
  return f32x4.mul(x, sigmoid4(x));
}

/** y = silu(gate) · up, silu(x) = x / (1 + e^-x), on rows of n elements; strides in bytes. In place when y = gate. */
export function siluMultiply(
  first: i32, last: i32, n: i32, gate: usize, gateStride: usize, up: usize, upStride: usize, y: usize, yStride: usize,
): void {
  for (let r = <usize>first; r < <usize>last; r++) {
    let g = gate + r * gateStride, u = up + r * upStride, to = y + r * yStride, i = n;
    for (; i >= 4; i -= 4, g += 16, u += 16, to += 16) v128.store(to, f32x4.mul(silu4(v128.load(g)), v128.load(u)));
    for (; i > 0; i--, g += 4, u += 4, to += 4) {
      store<f32>(to, f32x4.extract_lane(f32x4.mul(silu4(v128.load32_zero(g)), v128.load32_zero(u)), 0));
    }
  }
}

/** y += x over n elements. */
export function add(n: i32, x: usize, y: usize): void {
  for (; n >= 4; n -= 4, x += 16, y += 16) v128.store(y, f32x4.add(v128.load(y), v128.load(x)));
  for (; n > 0; n--, x += 4, y += 4) store<f32>(y, load<f32>(y) + load<f32>(x));
}

/** Each of rows first..last-1 (stride bytes apart) += bias [n]. */
export function addBias(first: i32, last: i32, n: i32, bias: usize, y: usize, stride: usize): void {
  for (let r = first; r < last; r++) add(n, bias, y + <usize>r * stride);
}

/** x *= factor over n elements. */
export function scale(n: i32, factor: f32, x: usize): void {
  const f = f32x4.splat(factor);
  for (; n >= 4; n -= 4, x += 16) v128.store(x, f32x4.mul(v128.load(x), f));
  for (; n > 0; n--, x += 4) store<f32>(x, load<f32>(x) * factor);
}

/** Rows of n elements become their softmax, in place; a row's sum is 1. */
export function softmax(first: i32, last: i32, n: i32, x: usize, stride: usize): void {
  for (let r = first; r < last; r++) {
    const row = x + <usize>r * stride, whole = row + (<usize>(n & ~3) << 2), end = row + (<usize>n << 2);
    let m = f32x4.splat(-Infinity);
    for (let p = row; p < whole; p += 16) m = f32x4.pmax(m, v128.load(p));
    let most = max4(m);
    for (let p = whole; p < end; p += 4) most = max(most, load<f32>(p));
    let sum = f32x4.splat(0);
    for (let p = row; p < whole; p += 16) {
      const e = exp4(f32x4.sub(v128.load(p), f32x4.splat(most)));
      v128.store(p, e);
      sum = f32x4.add(sum, e);
    }
    let total = sum4(sum);
    for (let p = whole; p < end; p += 4) {
      const e = f32x4.extract_lane(exp4(f32x4.splat(load<f32>(p) - most)), 0);
      store<f32>(p, e);
      total += e;
    }
    scale(n, 1 / total, row);
  }
}
