/** y = W · x for one row of activations: decoding. All functions take a range of panels, so lanes can share a matrix. */
import { Type, anyHalves, bfloats, halves, panelBytes } from './panel';
import { Dot } from './int8';

// @ts-ignore: decorator
@inline
function madd(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_madd(a, b, c);
  return f32x4.add(f32x4.mul(a, b), c);
}

/** Writes 8 results; the last panel of a matrix may have fewer. */
// @ts-ignore: decorator
@inline
function storeEight(y: usize, n: i32, v0: v128, v1: v128): void {
  if (n >= 8) {
    v128.store(y, v0);
    v128.store(y, v1, 16);
    return;
  }
  for (let i = 0; i < n; i++) {
    store<f32>(y + (<usize>i << 2), f32x4.extract_lane(i < 4 ? v0 : v1, 0));
    if (i < 4) v0 = v128.shuffle<f32>(v0, v0, 1, 2, 3, 0);
    else v1 = v128.shuffle<f32>(v1, v1, 1, 2, 3, 0);
  }
}

// @ts-ignore: decorator
@inline
function loadFour<T>(p: usize): v128 {
  if (sizeof<T>() == 4) return v128.load(p);
  if (isSigned<T>()) return bfloats(p);
  return anyHalves(p);
}

/** T: f32 for f32, i16 for bf16, u16 for f16. Eight chains, since a fused product takes four cycles. */
// @ts-ignore: decorator
@inline
function dense<T>(x: usize, k: i32, panel: usize, y: usize, n: i32): void {
  const step: usize = sizeof<T>() * 8, half: usize = step >> 1;
  let a0 = f32x4.splat(0), a1 = a0, b0 = a0, b1 = a0, c0 = a0, c1 = a0, d0 = a0, d1 = a0;
  let i = k;
  for (; i >= 4; i -= 4) {
    let s = v128.load32_splat(x);
    a0 = madd(s, loadFour<T>(panel), a0); a1 = madd(s, loadFour<T>(panel + half), a1);
    s = v128.load32_splat(x, 4);
    b0 = madd(s, loadFour<T>(panel + step), b0); b1 = madd(s, loadFour<T>(panel + step + half), b1);
    s = v128.load32_splat(x, 8);
    c0 = madd(s, loadFour<T>(panel + 2 * step), c0); c1 = madd(s, loadFour<T>(panel + 2 * step + half), c1);
    s = v128.load32_splat(x, 12);
    d0 = madd(s, loadFour<T>(panel + 3 * step), d0); d1 = madd(s, loadFour<T>(panel + 3 * step + half), d1);
    x += 16;
    panel += 4 * step;
  }
  for (; i > 0; i--) {
    const s = v128.load32_splat(x);
    a0 = madd(s, loadFour<T>(panel), a0); a1 = madd(s, loadFour<T>(panel + half), a1);
    x += 4;
    panel += step;
  }
  storeEight(y, n, f32x4.add(f32x4.add(a0, b0), f32x4.add(c0, d0)), f32x4.add(f32x4.add(a1, b1), f32x4.add(c1, d1)));
}

export function denseF32(x: usize, k: i32, panel: usize, y: usize, n: i32): void {
  dense<f32>(x, k, panel, y, n);
}
export function denseBF16(x: usize, k: i32, panel: usize, y: usize, n: i32): void {
  dense<i16>(x, k, panel, y, n);
}
export function denseF16(x: usize, k: i32, panel: usize, y: usize, n: i32): void {
  dense<u16>(x, k, panel, y, n);
}

/** y[8·first .. ] for panels first..last-1 of an f32, f16 or bf16 matrix with n rows. x [K] f32; y [n] f32. */
export function matvecDense(type: i32, panels: usize, first: i32, last: i32, n: i32, k: i32, x: usize, y: usize): void {
  const bytes = panelBytes(type, k);
  for (let p = first; p < last; p++) {
    const panel = panels + bytes * <usize>p, out = y + (<usize>p << 5), m = n - (p << 3);
    if (type == Type.F32) denseF32(x, k, panel, out, m);
    else if (type == Type.BF16) denseBF16(x, k, panel, out, m);
    else denseF16(x, k, panel, out, m);
  }
}

/*
 * Quantised rows. Scales are read as `halves` (true value · 2^(shift - 112)); the activations' scales carry 2^56, so that no
 * intermediate leaves f32's normal range; 2^(56 - shift) at the end makes the result right.
 */
// @ts-ignore: decorator
@inline
function finish(shift: i32): v128 {
  return f32x4.splat(<f32>reinterpret<f64>((<u64>(1023 + 56 - shift)) << 52));
}

/** One panel of 4-bit codes: eight sums of a block fit i16 (8 · 2 · 15 · 127 < 2^15). */
export function rowQ4Relaxed16(codes: usize, blocks: usize, panel: usize, k: i32, minima: i32, shift: i32, y: usize, n: i32): void {
  if (!ASC_FEATURE_RELAXED_SIMD) unreachable();
  else {
    const low = i8x16.splat(15);
    let scales = panel + (<usize>k << 2);
    let y0 = f32x4.splat(0), y1 = y0;
    for (let b = k >> 5; b > 0; b--) {
      let w = v128.load(panel), s = v128.load32_splat(codes);
      let c0 = i16x8.relaxed_dot_i8x16_i7x16_s(s, v128.and(w, low));
      let c1 = i16x8.relaxed_dot_i8x16_i7x16_s(s, v128.and(i16x8.shr_u(w, 4), low));
      for (let i = 7; i > 0; i--) {
        panel += 16;
        codes += 4;
        w = v128.load(panel);
        s = v128.load32_splat(codes);
        c0 = i16x8.add(c0, i16x8.relaxed_dot_i8x16_i7x16_s(s, v128.and(w, low)));
        c1 = i16x8.add(c1, i16x8.relaxed_dot_i8x16_i7x16_s(s, v128.and(i16x8.shr_u(w, 4), low)));
      }
      panel += 16;
      codes += 4;
      const f0 = f32x4.convert_i32x4_s(i32x4.extadd_pairwise_i16x8_s(c0));
      const f1 = f32x4.convert_i32x4_s(i32x4.extadd_pairwise_i16x8_s(c1));
      const scale = v128.load32_splat(blocks), sum = v128.load32_splat(blocks, 4);
      const d0 = halves(scales), d1 = halves(scales + 8);
      y0 = madd(f32x4.mul(d0, scale), f0, y0);
      y1 = madd(f32x4.mul(d1, scale), f1, y1);
      if (minima) {
        y0 = madd(halves(scales + 16), sum, y0);
        y1 = madd(halves(scales + 24), sum, y1);
        scales += 32;
      } else {
        const minus = f32x4.mul(sum, f32x4.splat(-8));
        y0 = madd(d0, minus, y0);
        y1 = madd(d1, minus, y1);
        scales += 16;
      }
      blocks += 8;
    }
    storeEight(y, n, f32x4.mul(y0, finish(shift)), f32x4.mul(y1, finish(shift)));
  }
}

/** As above by 32-bit dots. */
export function rowQ4Relaxed32(codes: usize, blocks: usize, panel: usize, k: i32, minima: i32, shift: i32, y: usize, n: i32): void {
  if (!ASC_FEATURE_RELAXED_SIMD) unreachable();
  else {
    const low = i8x16.splat(15);
    let scales = panel + (<usize>k << 2);
    let y0 = f32x4.splat(0), y1 = y0;
    for (let b = k >> 5; b > 0; b--) {
      let c0 = i32x4.splat(0), c1 = c0;
      for (let i = 8; i > 0; i--) {
        const w = v128.load(panel), s = v128.load32_splat(codes);
        c0 = i32x4.relaxed_dot_i8x16_i7x16_add_s(s, v128.and(w, low), c0);
        c1 = i32x4.relaxed_dot_i8x16_i7x16_add_s(s, v128.and(i16x8.shr_u(w, 4), low), c1);
        panel += 16;
        codes += 4;
      }
      const scale = v128.load32_splat(blocks), sum = v128.load32_splat(blocks, 4);
      const d0 = halves(scales), d1 = halves(scales + 8);
      y0 = madd(f32x4.mul(d0, scale), f32x4.convert_i32x4_s(c0), y0);
      y1 = madd(f32x4.mul(d1, scale), f32x4.convert_i32x4_s(c1), y1);
      if (minima) {
        y0 = madd(halves(scales + 16), sum, y0);
        y1 = madd(halves(scales + 24), sum, y1);
        scales += 32;
      } else {
        const minus = f32x4.mul(sum, f32x4.splat(-8));
        y0 = madd(d0, minus, y0);
        y1 = madd(d1, minus, y1);
        scales += 16;
      }
      blocks += 8;
    }
    storeEight(y, n, f32x4.mul(y0, finish(shift)), f32x4.mul(y1, finish(shift)));
  }
}

/** As above on every engine: the two bytes of each 16-bit half apart, k in even-odd order. wide: [K] i16. */
export function rowQ4Wide(wide: usize, blocks: usize, panel: usize, k: i32, minima: i32, shift: i32, y: usize, n: i32): void {
  const low = i16x8.splat(15);
  let scales = panel + (<usize>k << 2);
  let y0 = f32x4.splat(0), y1 = y0;
  for (let b = k >> 5; b > 0; b--) {
    let c0 = i32x4.splat(0), c1 = c0;
    for (let i = 8; i > 0; i--) {
      const w = v128.load(panel), even = v128.load32_splat(wide), odd = v128.load32_splat(wide, 4);
      c0 = i32x4.add(c0, i32x4.dot_i16x8_s(even, v128.and(w, low)));
      c1 = i32x4.add(c1, i32x4.dot_i16x8_s(even, v128.and(i16x8.shr_u(w, 4), low)));
      c0 = i32x4.add(c0, i32x4.dot_i16x8_s(odd, v128.and(i16x8.shr_u(w, 8), low)));
      c1 = i32x4.add(c1, i32x4.dot_i16x8_s(odd, i16x8.shr_u(w, 12)));
      panel += 16;
      wide += 8;
    }
    const scale = v128.load32_splat(blocks), sum = v128.load32_splat(blocks, 4);
    const d0 = halves(scales), d1 = halves(scales + 8);
    y0 = madd(f32x4.mul(d0, scale), f32x4.convert_i32x4_s(c0), y0);
    y1 = madd(f32x4.mul(d1, scale), f32x4.convert_i32x4_s(c1), y1);
    if (minima) {
      y0 = madd(halves(scales + 16), sum, y0);
      y1 = madd(halves(scales + 24), sum, y1);
      scales += 32;
    } else {
      const minus = f32x4.mul(sum, f32x4.splat(-8));
      y0 = madd(d0, minus, y0);
      y1 = madd(d1, minus, y1);
      scales += 16;
    }
    blocks += 8;
  }
  storeEight(y, n, f32x4.mul(y0, finish(shift)), f32x4.mul(y1, finish(shift)));
}

/** One panel of 8-bit codes, exact on every engine: codes do not fit the relaxed dot's 7 bits, and this is no slower. */
export function rowQ8(wide: usize, blocks: usize, panel: usize, k: i32, shift: i32, y: usize, n: i32): void {
  let scales = panel + (<usize>k << 3);
  let y0 = f32x4.splat(0), y1 = y0;
  for (let b = k >> 5; b > 0; b--) {
    let c0 = i32x4.splat(0), c1 = c0;
    for (let i = 8; i > 0; i--) {
      const even = v128.load32_splat(wide), odd = v128.load32_splat(wide, 4);
      const w0 = v128.load(panel), w1 = v128.load(panel, 16);
      c0 = i32x4.add(c0, i32x4.dot_i16x8_s(odd, i16x8.shr_s(w0, 8)));
      c1 = i32x4.add(c1, i32x4.dot_i16x8_s(odd, i16x8.shr_s(w1, 8)));
      c0 = i32x4.add(c0, i32x4.dot_i16x8_s(even, i16x8.shr_s(i16x8.shl(w0, 8), 8)));
      c1 = i32x4.add(c1, i32x4.dot_i16x8_s(even, i16x8.shr_s(i16x8.shl(w1, 8), 8)));
      panel += 32;
      wide += 8;
    }
    const scale = v128.load32_splat(blocks);
    y0 = madd(f32x4.mul(halves(scales), scale), f32x4.convert_i32x4_s(c0), y0);
    y1 = madd(f32x4.mul(halves(scales + 8), scale), f32x4.convert_i32x4_s(c1), y1);
    scales += 16;
    blocks += 8;
  }
  storeEight(y, n, f32x4.mul(y0, finish(shift)), f32x4.mul(y1, finish(shift)));
}

/** y[8·first ..] for panels first..last-1 of a quantised matrix. codes, wide, blocks: from quantiseRow. */
export function matvecQuantised(
  type: i32, panels: usize, first: i32, last: i32, n: i32, k: i32, shift: i32, dot: i32, codes: usize, wide: usize,
  blocks: usize, y: usize,
): void {
  const bytes = panelBytes(type, k), minima = i32(type == Type.Q4_1);
  for (let p = first; p < last; p++) {
    const panel = panels + bytes * <usize>p, out = y + (<usize>p << 5), m = n - (p << 3);
    if (type == Type.Q8_0) rowQ8(wide, blocks, panel, k, shift, out, m);
    else if (dot == Dot.Relaxed16) rowQ4Relaxed16(codes, blocks, panel, k, minima, shift, out, m);
    else if (dot == Dot.Relaxed32) rowQ4Relaxed32(codes, blocks, panel, k, minima, shift, out, m);
    else rowQ4Wide(wide, blocks, panel, k, minima, shift, out, m);
  }
}
