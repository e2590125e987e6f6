/** Elementwise operations. Ranges are in elements; n need not be a multiple of four. */
import { EXP2, exp2With, exp4, madd, max4, sum4 } from './math';

/** Of the exponent of geluMultiply, in powers of two: -2 log2 e √(2/π), and that times 0.044715. */
const GELU: usize = memory.data<f32>([-2.302208198144325, -0.10294323958002]);

/**
 * y = x σ(s(x)) · up with x the gate, on rows of n elements; strides in bytes. silu: s = x; else s = 2 √(2/π) (x + 0.044715 x³), since
 * ½ (1 + tanh u) = σ(2u). As sigmoid4, with its constants in registers.
 */
// @ts-ignore: decorator
@inline
function gated(
  silu: bool, first: i32, last: i32, n: i32, gate: usize, gateStride: usize, up: usize, upStride: usize, y: usize,
  yStride: usize,
): void {
  const least = v128.load32_splat(EXP2), most = v128.load32_splat(EXP2, 36);
  const power = silu ? v128.load32_splat(EXP2, 40) : v128.load32_splat(GELU);
  const cubic = silu ? power : v128.load32_splat(GELU, 4);
  const magic = v128.load32_splat(EXP2, 4), one = v128.load32_splat(EXP2, 32);
  const c0 = v128.load32_splat(EXP2, 8), c1 = v128.load32_splat(EXP2, 12), c2 = v128.load32_splat(EXP2, 16);
  const c3 = v128.load32_splat(EXP2, 20), c4 = v128.load32_splat(EXP2, 24), c5 = v128.load32_splat(EXP2, 28);
  for (let r = <usize>first; r < <usize>last; r++) {
    let g = gate + r * gateStride, u = up + r * upStride, to = y + r * yStride;
    for (let i = n; i > 0; i -= 4, g += 16, u += 16, to += 16) {
      const v = i >= 4 ? v128.load(g) : loadSome(g, i), w = i >= 4 ? v128.load(u) : loadSome(u, i);
      const s = silu ? power : madd(cubic, f32x4.mul(v, v), power);
      const x = f32x4.pmax(least, f32x4.pmin(most, f32x4.mul(v, s)));
      const e = exp2With(x, magic, one, c0, c1, c2, c3, c4, c5);
      const z = f32x4.mul(f32x4.mul(v, f32x4.div(one, f32x4.add(one, e))), w);
      if (i >= 4) v128.store(to, z);
      else storeSome(to, z, i);
    }
  }
}

/** y = silu(gate) · up, silu(x) = x / (1 + e^-x). In place when y = gate. */
export function siluMultiply(
  first: i32, last: i32, n: i32, gate: usize, gateStride: usize, up: usize, upStride: usize, y: usize, yStride: usize,
): void {
  gated(true, first, last, n, gate, gateStride, up, upStride, y, yStride);
}

/** y = gelu(gate) · up, gelu in its tanh form (Hendrycks and Gimpel 2016). In place when y = gate. */
export function geluMultiply(
  first: i32, last: i32, n: i32, gate: usize, gateStride: usize, up: usize, upStride: usize, y: usize, yStride: usize,
): void {
  gated(false, first, last, n, gate, gateStride, up, upStride, y, yStride);
}

/** Of the derivative of GELU's exponent by x: 2 √(2/π), and that times 3 · 0.044715. */
const GELU_SLOPE: usize = memory.data<f32>([1.5957691216057308, 0.21406444881780076]);

/**
 * Of gated, y = x σ(s) · up with x the gate: dGate = dY · up · σ (1 + x (1 - σ) s') and dUp = dY · x σ. 1 - σ as e σ, which keeps its digits
 * where σ is nearly 1. Rows have one stride; dGate may be gate, dUp may be up.
 */
// @ts-ignore: decorator
@inline
function gatedBackward(
  silu: bool, first: i32, last: i32, n: i32, stride: usize, gate: usize, up: usize, dY: usize, dGate: usize, dUp: usize,
): void {
  const least = v128.load32_splat(EXP2), most = v128.load32_splat(EXP2, 36);
  const power = silu ? v128.load32_splat(EXP2, 40) : v128.load32_splat(GELU);
  const magic = v128.load32_splat(EXP2, 4), one = v128.load32_splat(EXP2, 32);
  const c0 = v128.load32_splat(EXP2, 8), c1 = v128.load32_splat(EXP2, 12), c2 = v128.load32_splat(EXP2, 16);
  const c3 = v128.load32_splat(EXP2, 20), c4 = v128.load32_splat(EXP2, 24), c5 = v128.load32_splat(EXP2, 28);
  for (let r = <usize>first; r < <usize>last; r++) {
    let at = r * stride;
    for (let i = n; i > 0; i -= 4, at += 16) {
      const x = i >= 4 ? v128.load(gate + at) : loadSome(gate + at, i), u = i >= 4 ? v128.load(up + at) : loadSome(up + at, i);
      const d = i >= 4 ? v128.load(dY + at) : loadSome(dY + at, i), square = f32x4.mul(x, x);
      const s = silu ? power : madd(v128.load32_splat(GELU, 4), square, power);
      const e = exp2With(f32x4.pmax(least, f32x4.pmin(most, f32x4.mul(x, s))), magic, one, c0, c1, c2, c3, c4, c5);
      const sigma = f32x4.div(one, f32x4.add(one, e));
      let slope = f32x4.mul(x, f32x4.mul(e, sigma));
      if (!silu) slope = f32x4.mul(slope, madd(v128.load32_splat(GELU_SLOPE, 4), square, v128.load32_splat(GELU_SLOPE)));
      const ds = f32x4.mul(d, sigma), g = f32x4.mul(f32x4.mul(ds, u), f32x4.add(one, slope)), w = f32x4.mul(ds, x);
      if (i >= 4) {
        v128.store(dGate + at, g);
        v128.store(dUp + at, w);
      } else {
        storeSome(dGate + at, g, i);
        storeSome(dUp + at, w, i);
      }
    }
  }
}

export function siluMultiplyBackward(
  first: i32, last: i32, n: i32, stride: usize, gate: usize, up: usize, dY: usize, dGate: usize, dUp: usize,
): void {
  gatedBackward(true, first, last, n, stride, gate, up, dY, dGate, dUp);
}

export function geluMultiplyBackward(
  first: i32, last: i32, n: i32, stride: usize, gate: usize, up: usize, dY: usize, dGate: usize, dUp: usize,
): void {
  gatedBackward(false, first, last, n, stride, gate, up, dY, dGate, dUp);
}

/** The first n < 4 of four numbers; the others are zero. */
function loadSome(from: usize, n: i32): v128 {
  let v = v128.load32_zero(from);
  if (n > 1) v = v128.load32_lane(from + 4, v, 1);
  return n > 2 ? v128.load32_lane(from + 8, v, 2) : v;
}

function storeSome(to: usize, v: v128, n: i32): void {
  v128.store32_lane(to, v, 0);
  if (n > 1) v128.store32_lane(to + 4, v, 1);
  if (n > 2) v128.store32_lane(to + 8, v, 2);
}

/** y += x over n elements. */
export function add(n: i32, x: usize, y: usize): void {
  for (; n >= 4; n -= 4, x += 16, y += 16) v128.store(y, f32x4.add(v128.load(y), v128.load(x)));
  for (; n > 0; n--, x += 4, y += 4) store<f32>(y, load<f32>(y) + load<f32>(x));
}

/** y += alpha · x over n elements, rounded twice in every build. */
export function axpy(n: i32, alpha: f32, x: usize, y: usize): void {
  const factor = f32x4.splat(alpha);
  for (; n >= 4; n -= 4, x += 16, y += 16) v128.store(y, f32x4.add(v128.load(y), f32x4.mul(v128.load(x), factor)));
  for (; n > 0; n--, x += 4, y += 4) store<f32>(y, load<f32>(y) + alpha * load<f32>(x));
}

/** Each of rows first..last-1 (stride bytes apart) += bias [n]. */
export function addBias(first: i32, last: i32, n: i32, bias: usize, y: usize, stride: usize): void {
  for (let r = first; r < last; r++) add(n, bias, y + <usize>r * stride);
}

/** out[c] += Σ x[r, c] over the rows of x [rows, n], in their order, for the columns first..last-1. */
export function columnSum(first: i32, last: i32, rows: i32, n: i32, x: usize, out: usize): void {
  const stride = <usize>n << 2, bytes = <usize>(last - first) << 2;
  x += <usize>first << 2;
  out += <usize>first << 2;
  for (; rows >= 4; rows -= 4, x += stride << 2) {
    let i: usize = 0;
    for (; i + 16 <= bytes; i += 16) {
      const p = x + i, s = f32x4.add(f32x4.add(v128.load(out + i), v128.load(p)), v128.load(p + stride));
      v128.store(out + i, f32x4.add(f32x4.add(s, v128.load(p + 2 * stride)), v128.load(p + 3 * stride)));
    }
    for (; i < bytes; i += 4) {
      const p = x + i, s = load<f32>(out + i) + load<f32>(p) + load<f32>(p + stride);
      store<f32>(out + i, s + load<f32>(p + 2 * stride) + load<f32>(p + 3 * stride));
    }
  }
  for (; rows > 0; rows--, x += stride) add(last - first, x, out);
}

/** x *= factor over n elements. */
export function scale(n: i32, factor: f32, x: usize): void {
  const f = f32x4.splat(factor);
  for (; n >= 4; n -= 4, x += 16) v128.store(x, f32x4.mul(v128.load(x), f));
  for (; n > 0; n--, x += 4) store<f32>(x, load<f32>(x) * factor);
}

/** Rows first..last-1 of out [rows][n] = coefficient · x, a row's coefficient `step` bytes behind that of the row before. out may be x. */
export function scaleRows(first: i32, last: i32, n: i32, coefficients: usize, step: usize, x: usize, out: usize): void {
  const bytes = <usize>n << 2;
  for (let r = <usize>first; r < <usize>last; r++) {
    const c = load<f32>(coefficients + r * step), c4 = f32x4.splat(c), from = x + r * bytes, to = out + r * bytes;
    let i: usize = 0;
    for (; i + 16 <= bytes; i += 16) v128.store(to + i, f32x4.mul(v128.load(from + i), c4));
    for (; i < bytes; i += 4) store<f32>(to + i, load<f32>(from + i) * c);
  }
}

/** Of scaleRows: dX += coefficient · dY and dCoefficients, which stand as coefficients do, += Σ x · dY; either may be 0. */
export function scaleRowsBackward(
  first: i32, last: i32, n: i32, coefficients: usize, step: usize, x: usize, dY: usize, dX: usize, dCoefficients: usize,
): void {
  const bytes = <usize>n << 2;
  for (let r = <usize>first; r < <usize>last; r++) {
    const c = load<f32>(coefficients + r * step), c4 = f32x4.splat(c), at = r * bytes;
    let i: usize = 0;
    for (; dX && i + 16 <= bytes; i += 16) v128.store(dX + at + i, madd(v128.load(dY + at + i), c4, v128.load(dX + at + i)));
    for (; dX && i < bytes; i += 4) store<f32>(dX + at + i, load<f32>(dX + at + i) + c * load<f32>(dY + at + i));
    if (!dCoefficients) continue;
    let sum = f32x4.splat(0);
    for (i = 0; i + 16 <= bytes; i += 16) sum = madd(v128.load(x + at + i), v128.load(dY + at + i), sum);
    let total = sum4(sum);
    for (; i < bytes; i += 4) total += load<f32>(x + at + i) * load<f32>(dY + at + i);
    const to = dCoefficients + r * step;
    store<f32>(to, load<f32>(to) + total);
  }
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
