/**
 * y = W · x for four rows of different texts (gemv.ts): a panel is unpacked once for all four, and each row's sums have the order that
 * they have in gemv.ts, so that a row gets the same bits there and here. Rows stand interleaved, so that one address finds all four.
 */
import { finish, high4, loadFour, low4, storeEight } from './gemv-parts';
import { Dot } from './int8';
import { MASKS, madd } from './math';
import { Type, halves, hasMinima, isQ8 } from './panel';

/** Bytes of scratch for four rows: a tile [4][8] of f32 for each chain of `dense`. */
export function fourScratch(): usize {
  return 512;
}

/** Four rows of x [K] f32, `stride` bytes apart, to [K][4]; rows beyond `rows` are zero. */
export function interleaveFour(x: usize, stride: usize, rows: i32, k: i32, to: usize): void {
  for (let r: usize = 0; r < 4; r++, x += stride) {
    let out = to + (r << 2);
    if (r >= <usize>rows) for (let i = 0; i < k; i++, out += 16) store<f32>(out, 0);
    else for (let i: usize = 0; i < <usize>k; i++, out += 16) store<f32>(out, load<f32>(x + (i << 2)));
  }
}

/** One of the four chains of a row of gemv.ts: k = 0, 4, … of x [K][4] and a panel, to [4][8]. Its own function, so that its registers are. */
// @ts-ignore: decorator
@inline
function chain<T>(x: usize, steps: i32, panel: usize, to: usize): void {
  const step: usize = sizeof<T>() * 32, half: usize = sizeof<T>() * 4;
  let a0 = f32x4.splat(0), a1 = a0, b0 = a0, b1 = a0, c0 = a0, c1 = a0, d0 = a0, d1 = a0;
  for (const end = x + (<usize>steps << 6); x != end; ) {
    const w0 = loadFour<T>(panel), w1 = loadFour<T>(panel + half);
    let s = v128.load32_splat(x);
    a0 = madd(s, w0, a0); a1 = madd(s, w1, a1);
    s = v128.load32_splat(x, 4);
    b0 = madd(s, w0, b0); b1 = madd(s, w1, b1);
    s = v128.load32_splat(x, 8);
    c0 = madd(s, w0, c0); c1 = madd(s, w1, c1);
    s = v128.load32_splat(x, 12);
    d0 = madd(s, w0, d0); d1 = madd(s, w1, d1);
    x += 64;
    panel += step;
  }
  v128.store(to, a0);
  v128.store(to, a1, 16);
  v128.store(to, b0, 32);
  v128.store(to, b1, 48);
  v128.store(to, c0, 64);
  v128.store(to, c1, 80);
  v128.store(to, d0, 96);
  v128.store(to, d1, 112);
}
export function chainF32(x: usize, steps: i32, panel: usize, to: usize): void {
  chain<f32>(x, steps, panel, to);
}
export function chainBF16(x: usize, steps: i32, panel: usize, to: usize): void {
  chain<i16>(x, steps, panel, to);
}
export function chainF16(x: usize, steps: i32, panel: usize, to: usize): void {
  chain<u16>(x, steps, panel, to);
}

/** As gemv.ts: what is left of k goes to the first chain, and the chains are added in pairs. */
// @ts-ignore: decorator
@inline
function dense<T>(x: usize, k: i32, panel: usize, y: usize, yStride: usize, n: i32, rows: i32, tiles: usize): void {
  const step: usize = sizeof<T>() * 8, half: usize = step >> 1, steps = k >> 2;
  for (let c: usize = 0; c < 4; c++) {
    const from = x + (c << 4), at = panel + c * step, to = tiles + (c << 7);
    if (sizeof<T>() == 4) chainF32(from, steps, at, to);
    else if (isSigned<T>()) chainBF16(from, steps, at, to);
    else chainF16(from, steps, at, to);
  }
  for (let i = steps << 2; i < k; i++) {
    const at = panel + <usize>i * step, w0 = loadFour<T>(at), w1 = loadFour<T>(at + half), from = x + (<usize>i << 4);
    for (let r: usize = 0; r < 4; r++) {
      const to = tiles + (r << 5), s = v128.load32_splat(from + (r << 2));
      v128.store(to, madd(s, w0, v128.load(to)));
      v128.store(to, madd(s, w1, v128.load(to, 16)), 16);
    }
  }
  for (let r = 0; r < rows; r++, tiles += 32, y += yStride) {
    const v0 = f32x4.add(f32x4.add(v128.load(tiles), v128.load(tiles, 128)), f32x4.add(v128.load(tiles, 256), v128.load(tiles, 384)));
    const v1 = f32x4.add(f32x4.add(v128.load(tiles, 16), v128.load(tiles, 144)), f32x4.add(v128.load(tiles, 272), v128.load(tiles, 400)));
    storeEight(y, n, v0, v1);
  }
}

/** One panel of an f32, f16 or bf16 matrix for the first `rows` of four rows of x [K][4]. */
export function denseFour(
  type: i32, x: usize, k: i32, panel: usize, y: usize, yStride: usize, n: i32, rows: i32, scratch: usize,
): void {
  if (type == Type.F32) dense<f32>(x, k, panel, y, yStride, n, rows, scratch);
  else if (type == Type.BF16) dense<i16>(x, k, panel, y, yStride, n, rows, scratch);
  else dense<u16>(x, k, panel, y, yStride, n, rows, scratch);
}

/*
 * Quantised rows. codes: [K/4][4 rows][4] i8, or wide [K/2][4 rows][2] i16; blocks: [K/32][4 rows] of what quantiseRow gives for a block. A
 * block's sums are whole numbers, so their order does not matter; what is added to y does, and stands as in gemv.ts.
 */
// @ts-ignore: decorator
@inline
function dot16(sum: v128, s: v128, w: v128): v128 {
  return i16x8.add(sum, i16x8.relaxed_dot_i8x16_i7x16_s(s, w));
}

/** A block of 4-bit codes with a channel apart, of one row: as addQ4 of gemv.ts. at: scales; block: of the row; y: [8] f32. */
// @ts-ignore: decorator
@inline
function addApart(at: usize, block: usize, y: usize, f0: v128, f1: v128, d0: v128, d1: v128, m0: v128, m1: v128): void {
  const apart = v128.load(at - 128 + <usize>load<i32>(block, 12)), mask = v128.load(MASKS, 48);
  const scale = v128.load32_splat(block), sum = v128.load32_splat(block, 4), own = v128.load32_splat(block, 8);
  const e0 = f32x4.mul(own, f32x4.convert_i32x4_s(v128.and(apart, mask)));
  const e1 = f32x4.mul(own, f32x4.convert_i32x4_s(v128.and(i32x4.shr_u(apart, 4), mask)));
  v128.store(y, madd(m0, sum, madd(d0, madd(scale, f0, e0), v128.load(y))));
  v128.store(y, madd(m1, sum, madd(d1, madd(scale, f1, e1), v128.load(y, 16))), 16);
}

/** The same without one, of codes of 16 bits. */
// @ts-ignore: decorator
@inline
function addWide(minima: bool, block: usize, y: usize, f0: v128, f1: v128, d0: v128, d1: v128, m0: v128, m1: v128): void {
  const scale = v128.load32_splat(block);
  let y0 = madd(f32x4.mul(d0, scale), f0, v128.load(y)), y1 = madd(f32x4.mul(d1, scale), f1, v128.load(y, 16));
  if (minima) {
    const sum = v128.load32_splat(block, 4);
    y0 = madd(m0, sum, y0);
    y1 = madd(m1, sum, y1);
  }
  v128.store(y, y0);
  v128.store(y, y1, 16);
}

/** Minima of a block; of q4_0 those that its offset stands for. */
// @ts-ignore: decorator
@inline
function minimaOf(minima: bool, at: usize, d: v128): v128 {
  return minima ? halves(at) : f32x4.mul(d, f32x4.splat(-8));
}

// @ts-ignore: decorator
@inline
function pairs(c: v128): v128 {
  return f32x4.convert_i32x4_s(i32x4.extadd_pairwise_i16x8_s(c));
}

/** As rowQ4By16 of gemv.ts. M is bool where there are minima. y: [4][8] f32, added to. */
// @ts-ignore: decorator
@inline
function q4By16<M>(codes: usize, blocks: usize, panel: usize, k: i32, y: usize): void {
  const mask = v128.load(MASKS);
  for (let b = k >> 5; b > 0; b--) {
    let w = v128.load(panel);
    let lo = v128.and(w, mask), hi = v128.and(i16x8.shr_u(w, 4), mask);
    let s = v128.load32_splat(codes);
    let a0 = i16x8.relaxed_dot_i8x16_i7x16_s(s, lo), a1 = i16x8.relaxed_dot_i8x16_i7x16_s(s, hi);
    s = v128.load32_splat(codes, 4);
    let b0 = i16x8.relaxed_dot_i8x16_i7x16_s(s, lo), b1 = i16x8.relaxed_dot_i8x16_i7x16_s(s, hi);
    s = v128.load32_splat(codes, 8);
    let c0 = i16x8.relaxed_dot_i8x16_i7x16_s(s, lo), c1 = i16x8.relaxed_dot_i8x16_i7x16_s(s, hi);
    s = v128.load32_splat(codes, 12);
    let d0 = i16x8.relaxed_dot_i8x16_i7x16_s(s, lo), d1 = i16x8.relaxed_dot_i8x16_i7x16_s(s, hi);
    for (const end = panel + 112; panel != end; ) {
      panel += 16;
      codes += 16;
      w = v128.load(panel);
      lo = v128.and(w, mask);
      hi = v128.and(i16x8.shr_u(w, 4), mask);
      s = v128.load32_splat(codes);
      a0 = dot16(a0, s, lo);
      a1 = dot16(a1, s, hi);
      s = v128.load32_splat(codes, 4);
      b0 = dot16(b0, s, lo);
      b1 = dot16(b1, s, hi);
      s = v128.load32_splat(codes, 8);
      c0 = dot16(c0, s, lo);
      c1 = dot16(c1, s, hi);
      s = v128.load32_splat(codes, 12);
      d0 = dot16(d0, s, lo);
      d1 = dot16(d1, s, hi);
    }
    panel += 16;
    codes += 16;
    const s0 = halves(panel), s1 = halves(panel + 8);
    const m0 = minimaOf(isInteger<M>(), panel + 16, s0), m1 = minimaOf(isInteger<M>(), panel + 24, s1);
    addApart(panel, blocks, y, pairs(a0), pairs(a1), s0, s1, m0, m1);
    addApart(panel, blocks + 16, y + 32, pairs(b0), pairs(b1), s0, s1, m0, m1);
    addApart(panel, blocks + 32, y + 64, pairs(c0), pairs(c1), s0, s1, m0, m1);
    addApart(panel, blocks + 48, y + 96, pairs(d0), pairs(d1), s0, s1, m0, m1);
    panel += isInteger<M>() ? 32 : 16;
    blocks += 64;
  }
}
export function fourQ41By16(codes: usize, blocks: usize, panel: usize, k: i32, y: usize): void {
  if (ASC_FEATURE_RELAXED_SIMD) q4By16<i32>(codes, blocks, panel, k, y);
  else unreachable();
}
export function fourQ40By16(codes: usize, blocks: usize, panel: usize, k: i32, y: usize): void {
  if (ASC_FEATURE_RELAXED_SIMD) q4By16<f32>(codes, blocks, panel, k, y);
  else unreachable();
}

/** As rowQ4By32 of gemv.ts. */
export function fourQ4By32(minima: i32, codes: usize, blocks: usize, panel: usize, k: i32, y: usize): void {
  if (!ASC_FEATURE_RELAXED_SIMD) unreachable();
  else {
    for (let b = k >> 5; b > 0; b--) {
      let a0 = i32x4.splat(0), a1 = a0, b0 = a0, b1 = a0, c0 = a0, c1 = a0, d0 = a0, d1 = a0;
      for (const end = panel + 128; panel != end; ) {
        const w = v128.load(panel), lo = low4(w), hi = high4(w);
        let s = v128.load32_splat(codes);
        a0 = i32x4.relaxed_dot_i8x16_i7x16_add_s(s, lo, a0);
        a1 = i32x4.relaxed_dot_i8x16_i7x16_add_s(s, hi, a1);
        s = v128.load32_splat(codes, 4);
        b0 = i32x4.relaxed_dot_i8x16_i7x16_add_s(s, lo, b0);
        b1 = i32x4.relaxed_dot_i8x16_i7x16_add_s(s, hi, b1);
        s = v128.load32_splat(codes, 8);
        c0 = i32x4.relaxed_dot_i8x16_i7x16_add_s(s, lo, c0);
        c1 = i32x4.relaxed_dot_i8x16_i7x16_add_s(s, hi, c1);
        s = v128.load32_splat(codes, 12);
        d0 = i32x4.relaxed_dot_i8x16_i7x16_add_s(s, lo, d0);
        d1 = i32x4.relaxed_dot_i8x16_i7x16_add_s(s, hi, d1);
        panel += 16;
        codes += 16;
      }
      const s0 = halves(panel), s1 = halves(panel + 8);
      const m0 = minimaOf(minima != 0, panel + 16, s0), m1 = minimaOf(minima != 0, panel + 24, s1);
      addApart(panel, blocks, y, f32x4.convert_i32x4_s(a0), f32x4.convert_i32x4_s(a1), s0, s1, m0, m1);
      addApart(panel, blocks + 16, y + 32, f32x4.convert_i32x4_s(b0), f32x4.convert_i32x4_s(b1), s0, s1, m0, m1);
      addApart(panel, blocks + 32, y + 64, f32x4.convert_i32x4_s(c0), f32x4.convert_i32x4_s(c1), s0, s1, m0, m1);
      addApart(panel, blocks + 48, y + 96, f32x4.convert_i32x4_s(d0), f32x4.convert_i32x4_s(d1), s0, s1, m0, m1);
      panel += minima ? 32 : 16;
      blocks += 64;
    }
  }
}

// @ts-ignore: decorator
@inline
function dotWide(sum: v128, s: v128, w: v128): v128 {
  return i32x4.add(sum, i32x4.dot_i16x8_s(s, w));
}

/** As rowQ4Wide of gemv.ts. */
export function fourQ4Wide(minima: i32, codes: usize, blocks: usize, panel: usize, k: i32, y: usize): void {
  const mask = v128.load(MASKS, 32);
  for (let b = k >> 5; b > 0; b--) {
    let a0 = i32x4.splat(0), a1 = a0, b0 = a0, b1 = a0, c0 = a0, c1 = a0, d0 = a0, d1 = a0;
    for (const end = panel + 128; panel != end; ) {
      const w = v128.load(panel);
      let lo = v128.and(w, mask), hi = v128.and(i16x8.shr_u(w, 4), mask);
      let s = v128.load32_splat(codes);
      a0 = dotWide(a0, s, lo);
      a1 = dotWide(a1, s, hi);
      s = v128.load32_splat(codes, 4);
      b0 = dotWide(b0, s, lo);
      b1 = dotWide(b1, s, hi);
      s = v128.load32_splat(codes, 8);
      c0 = dotWide(c0, s, lo);
      c1 = dotWide(c1, s, hi);
      s = v128.load32_splat(codes, 12);
      d0 = dotWide(d0, s, lo);
      d1 = dotWide(d1, s, hi);
      lo = v128.and(i16x8.shr_u(w, 8), mask);
      hi = i16x8.shr_u(w, 12);
      s = v128.load32_splat(codes, 16);
      a0 = dotWide(a0, s, lo);
      a1 = dotWide(a1, s, hi);
      s = v128.load32_splat(codes, 20);
      b0 = dotWide(b0, s, lo);
      b1 = dotWide(b1, s, hi);
      s = v128.load32_splat(codes, 24);
      c0 = dotWide(c0, s, lo);
      c1 = dotWide(c1, s, hi);
      s = v128.load32_splat(codes, 28);
      d0 = dotWide(d0, s, lo);
      d1 = dotWide(d1, s, hi);
      panel += 16;
      codes += 32;
    }
    const s0 = halves(panel), s1 = halves(panel + 8);
    const m0 = minimaOf(minima != 0, panel + 16, s0), m1 = minimaOf(minima != 0, panel + 24, s1);
    addWide(true, blocks, y, f32x4.convert_i32x4_s(a0), f32x4.convert_i32x4_s(a1), s0, s1, m0, m1);
    addWide(true, blocks + 16, y + 32, f32x4.convert_i32x4_s(b0), f32x4.convert_i32x4_s(b1), s0, s1, m0, m1);
    addWide(true, blocks + 32, y + 64, f32x4.convert_i32x4_s(c0), f32x4.convert_i32x4_s(c1), s0, s1, m0, m1);
    addWide(true, blocks + 48, y + 96, f32x4.convert_i32x4_s(d0), f32x4.convert_i32x4_s(d1), s0, s1, m0, m1);
    panel += minima ? 32 : 16;
    blocks += 64;
  }
}

/** As rowQ8 of gemv.ts. M is bool where there are minima. */
// @ts-ignore: decorator
@inline
function q8<M>(codes: usize, blocks: usize, panel: usize, k: i32, y: usize): void {
  for (let b = k >> 5; b > 0; b--) {
    let a0 = i32x4.splat(0), a1 = a0, b0 = a0, b1 = a0, c0 = a0, c1 = a0, d0 = a0, d1 = a0;
    for (const end = panel + 256; panel != end; ) {
      let lo = i16x8.shr_s(i16x8.shl(v128.load(panel), 8), 8), hi = i16x8.shr_s(i16x8.shl(v128.load(panel, 16), 8), 8);
      let s = v128.load32_splat(codes);
      a0 = dotWide(a0, s, lo);
      a1 = dotWide(a1, s, hi);
      s = v128.load32_splat(codes, 4);
      b0 = dotWide(b0, s, lo);
      b1 = dotWide(b1, s, hi);
      s = v128.load32_splat(codes, 8);
      c0 = dotWide(c0, s, lo);
      c1 = dotWide(c1, s, hi);
      s = v128.load32_splat(codes, 12);
      d0 = dotWide(d0, s, lo);
      d1 = dotWide(d1, s, hi);
      lo = i16x8.shr_s(v128.load(panel), 8);
      hi = i16x8.shr_s(v128.load(panel, 16), 8);
      s = v128.load32_splat(codes, 16);
      a0 = dotWide(a0, s, lo);
      a1 = dotWide(a1, s, hi);
      s = v128.load32_splat(codes, 20);
      b0 = dotWide(b0, s, lo);
      b1 = dotWide(b1, s, hi);
      s = v128.load32_splat(codes, 24);
      c0 = dotWide(c0, s, lo);
      c1 = dotWide(c1, s, hi);
      s = v128.load32_splat(codes, 28);
      d0 = dotWide(d0, s, lo);
      d1 = dotWide(d1, s, hi);
      panel += 32;
      codes += 32;
    }
    const s0 = halves(panel), s1 = halves(panel + 8), minima = isInteger<M>();
    const m0 = minima ? halves(panel + 16) : s0, m1 = minima ? halves(panel + 24) : s1;
    addWide(minima, blocks, y, f32x4.convert_i32x4_s(a0), f32x4.convert_i32x4_s(a1), s0, s1, m0, m1);
    addWide(minima, blocks + 16, y + 32, f32x4.convert_i32x4_s(b0), f32x4.convert_i32x4_s(b1), s0, s1, m0, m1);
    addWide(minima, blocks + 32, y + 64, f32x4.convert_i32x4_s(c0), f32x4.convert_i32x4_s(c1), s0, s1, m0, m1);
    addWide(minima, blocks + 48, y + 96, f32x4.convert_i32x4_s(d0), f32x4.convert_i32x4_s(d1), s0, s1, m0, m1);
    panel += minima ? 32 : 16;
    blocks += 64;
  }
}
export function fourQ80(codes: usize, blocks: usize, panel: usize, k: i32, y: usize): void {
  q8<f32>(codes, blocks, panel, k, y);
}
export function fourQ81(codes: usize, blocks: usize, panel: usize, k: i32, y: usize): void {
  q8<i32>(codes, blocks, panel, k, y);
}

/** One panel of a quantised matrix for the first `rows` of four rows. */
export function quantisedFour(
  type: i32, dot: i32, codes: usize, blocks: usize, panel: usize, k: i32, shift: i32, y: usize, yStride: usize, n: i32,
  rows: i32, scratch: usize,
): void {
  for (let i: usize = 0; i < 128; i += 16) v128.store(scratch + i, f32x4.splat(0)); // memory.fill would be a call out of the module
  const minima = i32(hasMinima(type));
  if (isQ8(type)) {
    if (minima) fourQ81(codes, blocks, panel, k, scratch);
    else fourQ80(codes, blocks, panel, k, scratch);
  } else if (dot == Dot.Relaxed16) {
    if (minima) fourQ41By16(codes, blocks, panel, k, scratch);
    else fourQ40By16(codes, blocks, panel, k, scratch);
  } else if (dot == Dot.Relaxed32) fourQ4By32(minima, codes, blocks, panel, k, scratch);
  else fourQ4Wide(minima, codes, blocks, panel, k, scratch);
  const factor = finish(shift);
  for (let r = 0; r < rows; r++, scratch += 32, y += yStride) {
    storeEight(y, n, f32x4.mul(v128.load(scratch), factor), f32x4.mul(v128.load(scratch, 16), factor));
  }
}
