/**
 * y = W · x for one row of activations, or for each of a few of different texts: decoding. A row's sums have one order whatever its company.
 * All functions take a range of panels, so lanes can share a matrix.
 */
import { finish, high4, loadFour, low4, rowsByFour, storeEight } from './gemv-parts';
import { Type, halves, hasMinima, isQ8, panelBytes } from './panel';
import { Dot } from './int8';
import { denseFour, quantisedFour } from './gemv-four';
import { MASKS, madd } from './math';

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

/**
 * y[8·first .. ] for panels first..last-1 of an f32, f16 or bf16 matrix with n rows, of `rows` rows of x [K] f32, 4·K bytes apart; y [n]
 * f32, yStride bytes apart. fours: those that go by four, from interleaveFour, four behind four. scratch: fourScratch(), of each lane's own.
 * A panel meets all rows while it is in level 1.
 */
export function matvecDense(
  type: i32, panels: usize, first: i32, last: i32, n: i32, k: i32, rows: i32, x: usize, fours: usize, y: usize,
  yStride: usize, scratch: usize,
): void {
  const bytes = panelBytes(type, k), many = rowsByFour(rows);
  for (let p = first; p < last; p++) {
    const panel = panels + bytes * <usize>p, m = n - (p << 3);
    let out = y + (<usize>p << 5), from = fours, r = 0;
    for (; r < many; r += 4, from += <usize>k << 4, out += yStride << 2) {
      denseFour(type, from, k, panel, out, yStride, m, min(4, rows - r), scratch);
    }
    for (; r < rows; r++, out += yStride) {
      const row = x + (<usize>(r * k) << 2);
      if (type == Type.F32) denseF32(row, k, panel, out, m);
      else if (type == Type.BF16) denseBF16(row, k, panel, out, m);
      else denseF16(row, k, panel, out, m);
    }
  }
}

/**
 * c[i] = alpha · Σ x[j] B[i, j] (+ c[i]) for rows first..last-1 of B [n, k], which stand as they are: low-rank factors, which nobody packs.
 * Four rows at a time, whose sums are turned into one vector in the end.
 */
export function matvecRows(
  x: usize, b: usize, first: i32, last: i32, k: i32, alpha: f32, c: usize, accumulate: i32,
): void {
  const stride = <usize>k << 2, factor = f32x4.splat(alpha), whole = k & ~3;
  let i = first;
  for (; i + 4 <= last; i += 4) {
    let row = b + stride * <usize>i, at = x;
    let s0 = f32x4.splat(0), s1 = s0, s2 = s0, s3 = s0;
    for (let j = 0; j < whole; j += 4, row += 16, at += 16) {
      const v = v128.load(at);
      s0 = madd(v, v128.load(row), s0);
      s1 = madd(v, v128.load(row + stride), s1);
      s2 = madd(v, v128.load(row + 2 * stride), s2);
      s3 = madd(v, v128.load(row + 3 * stride), s3);
    }
    const t0 = f32x4.add(v128.shuffle<f32>(s0, s1, 0, 4, 2, 6), v128.shuffle<f32>(s0, s1, 1, 5, 3, 7));
    const t1 = f32x4.add(v128.shuffle<f32>(s2, s3, 0, 4, 2, 6), v128.shuffle<f32>(s2, s3, 1, 5, 3, 7));
    let sum = f32x4.add(v128.shuffle<f32>(t0, t1, 0, 1, 4, 5), v128.shuffle<f32>(t0, t1, 2, 3, 6, 7));
    for (let j = whole; j < k; j++, row += 4, at += 4) {
      let four = f32x4.splat(load<f32>(row));
      four = f32x4.replace_lane(four, 1, load<f32>(row + stride));
      four = f32x4.replace_lane(four, 2, load<f32>(row + 2 * stride));
      four = f32x4.replace_lane(four, 3, load<f32>(row + 3 * stride));
      sum = madd(v128.load32_splat(at), four, sum);
    }
    sum = f32x4.mul(sum, factor);
    const out = c + (<usize>i << 2);
    v128.store(out, accumulate ? f32x4.add(v128.load(out), sum) : sum);
  }
  for (; i < last; i++) {
    let row = b + stride * <usize>i, at = x;
    let sums = f32x4.splat(0);
    for (let j = 0; j < whole; j += 4, row += 16, at += 16) sums = madd(v128.load(at), v128.load(row), sums);
    let sum = (f32x4.extract_lane(sums, 0) + f32x4.extract_lane(sums, 1)) +
      (f32x4.extract_lane(sums, 2) + f32x4.extract_lane(sums, 3));
    for (let j = whole; j < k; j++, row += 4, at += 4) sum += load<f32>(at) * load<f32>(row);
    sum *= alpha;
    const out = c + (<usize>i << 2);
    store<f32>(out, accumulate ? load<f32>(out) + sum : sum);
  }
}

/*
 * Quantised rows. Scales are read as `halves` (true value · 2^(shift - 112)); the activations' scales carry 2^56, so that no
 * intermediate leaves f32's normal range; 2^(56 - shift) at the end makes the result right.
 */
/**
 * y += d · (scale · f + apart · code) + minimum · sum for one block, where q4_0's minimum is -8 d. at: the block's scales; f: sums
 * of codes; code: of the channel apart.
 */
// @ts-ignore: decorator
@inline
function addQ4(minima: bool, at: usize, blocks: usize, f: v128, code: v128, y: v128): v128 {
  const d = halves(at), sum = v128.load32_splat(blocks, 4);
  const dot = madd(v128.load32_splat(blocks), f, f32x4.mul(v128.load32_splat(blocks, 8), f32x4.convert_i32x4_s(code)));
  y = madd(d, dot, y);
  return minima ? madd(halves(at + 16), sum, y) : madd(f32x4.mul(d, f32x4.splat(-8)), sum, y);
}

/** One panel of 4-bit codes: eight sums of a block fit i16 (8 · 2 · 15 · 127 < 2^15). M is bool where there are minima. */
// @ts-ignore: decorator
@inline
function rowQ4By16<M>(codes: usize, blocks: usize, panel: usize, k: i32, shift: i32, y: usize, n: i32): void {
  let y0 = f32x4.splat(0), y1 = y0;
  for (let b = k >> 5; b > 0; b--) {
    let w = v128.load(panel), s = v128.load32_splat(codes);
    let c0 = i16x8.relaxed_dot_i8x16_i7x16_s(s, low4(w)), c1 = i16x8.relaxed_dot_i8x16_i7x16_s(s, high4(w));
    w = v128.load(panel, 16);
    s = v128.load32_splat(codes, 4);
    c0 = i16x8.add(c0, i16x8.relaxed_dot_i8x16_i7x16_s(s, low4(w)));
    c1 = i16x8.add(c1, i16x8.relaxed_dot_i8x16_i7x16_s(s, high4(w)));
    for (let i: usize = 32; i < 128; i += 32) {
      w = v128.load(panel + i);
      s = v128.load32_splat(codes, 8);
      c0 = i16x8.add(c0, i16x8.relaxed_dot_i8x16_i7x16_s(s, low4(w)));
      c1 = i16x8.add(c1, i16x8.relaxed_dot_i8x16_i7x16_s(s, high4(w)));
      w = v128.load(panel + i, 16);
      s = v128.load32_splat(codes, 12);
      c0 = i16x8.add(c0, i16x8.relaxed_dot_i8x16_i7x16_s(s, low4(w)));
      c1 = i16x8.add(c1, i16x8.relaxed_dot_i8x16_i7x16_s(s, high4(w)));
      codes += 8;
    }
    const apart = v128.load(panel + <usize>load<i32>(blocks, 12)), mask = v128.load(MASKS, 48);
    const f0 = f32x4.convert_i32x4_s(i32x4.extadd_pairwise_i16x8_s(c0));
    const f1 = f32x4.convert_i32x4_s(i32x4.extadd_pairwise_i16x8_s(c1));
    y0 = addQ4(isInteger<M>(), panel + 128, blocks, f0, v128.and(apart, mask), y0);
    y1 = addQ4(isInteger<M>(), panel + 136, blocks, f1, v128.and(i32x4.shr_u(apart, 4), mask), y1);
    panel += isInteger<M>() ? 160 : 144;
    codes += 8;
    blocks += 16;
  }
  storeEight(y, n, f32x4.mul(y0, finish(shift)), f32x4.mul(y1, finish(shift)));
}

export function rowQ41By16(codes: usize, blocks: usize, panel: usize, k: i32, shift: i32, y: usize, n: i32): void {
  if (ASC_FEATURE_RELAXED_SIMD) rowQ4By16<i32>(codes, blocks, panel, k, shift, y, n);
  else unreachable();
}
export function rowQ40By16(codes: usize, blocks: usize, panel: usize, k: i32, shift: i32, y: usize, n: i32): void {
  if (ASC_FEATURE_RELAXED_SIMD) rowQ4By16<f32>(codes, blocks, panel, k, shift, y, n);
  else unreachable();
}

/** As above by 32-bit dots. */
export function rowQ4By32(minima: i32, codes: usize, blocks: usize, panel: usize, k: i32, shift: i32, y: usize, n: i32): void {
  if (!ASC_FEATURE_RELAXED_SIMD) unreachable();
  else {
    let y0 = f32x4.splat(0), y1 = y0;
    for (let b = k >> 5; b > 0; b--) {
      let c0 = i32x4.splat(0), c1 = c0;
      for (let i: usize = 0; i < 128; i += 16) {
        const w = v128.load(panel + i), s = v128.load32_splat(codes);
        c0 = i32x4.relaxed_dot_i8x16_i7x16_add_s(s, low4(w), c0);
        c1 = i32x4.relaxed_dot_i8x16_i7x16_add_s(s, high4(w), c1);
        codes += 4;
      }
      const apart = v128.load(panel + <usize>load<i32>(blocks, 12)), mask = v128.load(MASKS, 48);
      y0 = addQ4(minima != 0, panel + 128, blocks, f32x4.convert_i32x4_s(c0), v128.and(apart, mask), y0);
      y1 = addQ4(minima != 0, panel + 136, blocks, f32x4.convert_i32x4_s(c1), v128.and(i32x4.shr_u(apart, 4), mask), y1);
      panel += minima ? 160 : 144;
      blocks += 16;
    }
    storeEight(y, n, f32x4.mul(y0, finish(shift)), f32x4.mul(y1, finish(shift)));
  }
}

/** y += d · scale · f + minimum · sum: 16-bit codes need no channel apart. */
// @ts-ignore: decorator
@inline
function addQ4Wide(minima: bool, at: usize, blocks: usize, f: v128, y: v128): v128 {
  const d = halves(at), sum = v128.load32_splat(blocks, 4);
  y = madd(f32x4.mul(d, v128.load32_splat(blocks)), f, y);
  return minima ? madd(halves(at + 16), sum, y) : madd(f32x4.mul(d, f32x4.splat(-8)), sum, y);
}

/** As above on every engine: the two bytes of each 16-bit half apart, k in even-odd order. wide: [K] i16. */
export function rowQ4Wide(minima: i32, wide: usize, blocks: usize, panel: usize, k: i32, shift: i32, y: usize, n: i32): void {
  let y0 = f32x4.splat(0), y1 = y0;
  for (let b = k >> 5; b > 0; b--) {
    let c0 = i32x4.splat(0), c1 = c0;
    for (let i: usize = 0; i < 128; i += 16) {
      const w = v128.load(panel + i), even = v128.load32_splat(wide), odd = v128.load32_splat(wide, 4);
      c0 = i32x4.add(c0, i32x4.dot_i16x8_s(even, v128.and(w, v128.load(MASKS, 32))));
      c1 = i32x4.add(c1, i32x4.dot_i16x8_s(even, v128.and(i16x8.shr_u(w, 4), v128.load(MASKS, 32))));
      c0 = i32x4.add(c0, i32x4.dot_i16x8_s(odd, v128.and(i16x8.shr_u(w, 8), v128.load(MASKS, 32))));
      c1 = i32x4.add(c1, i32x4.dot_i16x8_s(odd, i16x8.shr_u(w, 12)));
      wide += 8;
    }
    y0 = addQ4Wide(minima != 0, panel + 128, blocks, f32x4.convert_i32x4_s(c0), y0);
    y1 = addQ4Wide(minima != 0, panel + 136, blocks, f32x4.convert_i32x4_s(c1), y1);
    panel += minima ? 160 : 144;
    blocks += 16;
  }
  storeEight(y, n, f32x4.mul(y0, finish(shift)), f32x4.mul(y1, finish(shift)));
}

/**
 * One panel of 8-bit codes, on every engine: they do not fit the relaxed dots' 7 bits, and this is no slower. M is bool where there are
 * minima.
 */
// @ts-ignore: decorator
@inline
function rowQ8<M>(wide: usize, blocks: usize, panel: usize, k: i32, shift: i32, y: usize, n: i32): void {
  let y0 = f32x4.splat(0), y1 = y0;
  for (let b = k >> 5; b > 0; b--) {
    let c0 = i32x4.splat(0), c1 = c0;
    for (let i: usize = 0; i < 256; i += 32) {
      const even = v128.load32_splat(wide), odd = v128.load32_splat(wide, 4);
      const w0 = v128.load(panel + i), w1 = v128.load(panel + i, 16);
      c0 = i32x4.add(c0, i32x4.dot_i16x8_s(odd, i16x8.shr_s(w0, 8)));
      c1 = i32x4.add(c1, i32x4.dot_i16x8_s(odd, i16x8.shr_s(w1, 8)));
      c0 = i32x4.add(c0, i32x4.dot_i16x8_s(even, i16x8.shr_s(i16x8.shl(w0, 8), 8)));
      c1 = i32x4.add(c1, i32x4.dot_i16x8_s(even, i16x8.shr_s(i16x8.shl(w1, 8), 8)));
      wide += 8;
    }
    const scale = v128.load32_splat(blocks);
    y0 = madd(f32x4.mul(halves(panel + 256), scale), f32x4.convert_i32x4_s(c0), y0);
    y1 = madd(f32x4.mul(halves(panel + 264), scale), f32x4.convert_i32x4_s(c1), y1);
    if (isInteger<M>()) {
      const sum = v128.load32_splat(blocks, 4);
      y0 = madd(halves(panel + 272), sum, y0);
      y1 = madd(halves(panel + 280), sum, y1);
    }
    panel += isInteger<M>() ? 288 : 272;
    blocks += 16;
  }
  storeEight(y, n, f32x4.mul(y0, finish(shift)), f32x4.mul(y1, finish(shift)));
}

export function rowQ80(wide: usize, blocks: usize, panel: usize, k: i32, shift: i32, y: usize, n: i32): void {
  rowQ8<f32>(wide, blocks, panel, k, shift, y, n);
}
export function rowQ81(wide: usize, blocks: usize, panel: usize, k: i32, shift: i32, y: usize, n: i32): void {
  rowQ8<i32>(wide, blocks, panel, k, shift, y, n);
}

/**
 * y[8·first ..] for panels first..last-1 of a quantised matrix, of `rows` rows, yStride bytes apart. codes, blocks: from quantiseRows, wide
 * if dot is Dot.Wide, as it must be for codes of 8 bits. scratch: fourScratch(), of each lane's own.
 */
export function matvecQuantised(
  type: i32, panels: usize, first: i32, last: i32, n: i32, k: i32, shift: i32, dot: i32, rows: i32, codes: usize,
  blocks: usize, y: usize, yStride: usize, scratch: usize,
): void {
  const bytes = panelBytes(type, k), codesStride = <usize>k << i32(dot == Dot.Wide), blocksStride = <usize>k >> 1;
  const many = rowsByFour(rows);
  for (let p = first; p < last; p++) {
    const panel = panels + bytes * <usize>p, m = n - (p << 3);
    let c = codes, b = blocks, out = y + (<usize>p << 5), r = 0;
    for (; r < many; r += 4, c += codesStride << 2, b += blocksStride << 2, out += yStride << 2) {
      quantisedFour(type, dot, c, b, panel, k, shift, out, yStride, m, min(4, rows - r), scratch);
    }
    for (; r < rows; r++, c += codesStride, b += blocksStride, out += yStride) {
      quantisedPanel(type, panel, k, shift, dot, c, b, out, m);
    }
  }
}

function quantisedPanel(
  type: i32, panel: usize, k: i32, shift: i32, dot: i32, codes: usize, blocks: usize, y: usize, n: i32,
): void {
  const minima = i32(hasMinima(type));
  if (isQ8(type)) {
    if (minima) rowQ81(codes, blocks, panel, k, shift, y, n);
    else rowQ80(codes, blocks, panel, k, shift, y, n);
  } else if (dot == Dot.Relaxed16) {
    if (minima) rowQ41By16(codes, blocks, panel, k, shift, y, n);
    else rowQ40By16(codes, blocks, panel, k, shift, y, n);
  } else if (dot == Dot.Relaxed32) rowQ4By32(minima, codes, blocks, panel, k, shift, y, n);
  else rowQ4Wide(minima, codes, blocks, panel, k, shift, y, n);
}
