/**
 * Products of quantised weights with quantised activations.
 *
 * Activations are quantised per row and per block of 32 along K: x ~ scale · code, with codes of 8 bits for the relaxed dots and
 * of 16 for the wide one. A weight of a block is
 * d · q + m with a small unsigned q, so the dot product of a block is scale · (d · sum(q · code) + m · sum(code)).
 * All integer sums are exact. The relaxed dots take d as integers of 16 bits in units of the column's largest / 32767 (linear.ts), and
 * so give the same bits.
 */

/** Which instruction multiplies: chosen at start by a numeric self-test and by timing (src/device/wasm/tune.ts). */
export const enum Dot {
  /** i32x4.dot_i16x8_s on 16-bit operands: every engine, and all 8-bit weights, which do not fit the relaxed dots' 7 bits. */
  Wide = 0,
  /** i16x8.relaxed_dot: one pmaddubsw on x86; eight of them fit one i16 accumulator for codes up to 15. */
  Relaxed16 = 1,
  /** i32x4.relaxed_dot_add: one instruction where AVX-VNNI or SDOT exists. */
  Relaxed32 = 2,
}

/** C[r][0..7] += (scale · d) · sum, with d in f32. */
// @ts-ignore: decorator
@inline
function addRow(c: usize, scale: v128, d0: v128, d1: v128, s0: v128, s1: v128): void {
  const w0 = f32x4.mul(d0, scale), w1 = f32x4.mul(d1, scale);
  if (ASC_FEATURE_RELAXED_SIMD) {
    v128.store(c, f32x4.relaxed_madd(w0, f32x4.convert_i32x4_s(s0), v128.load(c)));
    v128.store(c, f32x4.relaxed_madd(w1, f32x4.convert_i32x4_s(s1), v128.load(c, 16)), 16);
  } else {
    v128.store(c, f32x4.add(f32x4.mul(w0, f32x4.convert_i32x4_s(s0)), v128.load(c)));
    v128.store(c, f32x4.add(f32x4.mul(w1, f32x4.convert_i32x4_s(s1)), v128.load(c, 16)), 16);
  }
}

/** c + scale · sum. */
// @ts-ignore: decorator
@inline
function add(scale: v128, sum: v128, c: v128): v128 {
  return f32x4.relaxed_madd(scale, f32x4.convert_i32x4_s(sum), c);
}

/** C[r][0..7] += scale · (d · sum), with integers d. */
// @ts-ignore: decorator
@inline
function addProducts(c: usize, scale: v128, d0: v128, d1: v128, s0: v128, s1: v128): void {
  v128.store(c, add(scale, i32x4.mul(s0, d0), v128.load(c)));
  v128.store(c, add(scale, i32x4.mul(s1, d1), v128.load(c, 16)), 16);
}

/** Rows of a tile: what fits the registers beside two vectors of weights, one of activations and one product. */
// @ts-ignore: decorator
@inline
export function tileRows(dot: i32): i32 {
  return dot == Dot.Relaxed16 ? 5 : 4;
}

// @ts-ignore: decorator
@inline
function dot16(sum: v128, s: v128, w: v128): v128 {
  return i16x8.add(sum, i16x8.relaxed_dot_i8x16_i7x16_s(s, w));
}

/**
 * C[5][8] += one 5 x 8 tile over all blocks. a: codes [K/4][5 rows][4]; w: codes 0..15 [K/4][8 columns][4]; scale: [K/32][5];
 * d: integers [K/32][8][2] i16, each twice; c: [5][8] f32, contiguous. With integer scales the instruction that adds the halves of
 * a sum multiplies by d as well. No i32 overflows: a block's sum is at most 32 · 15 · 127 = 60,960, and |d| at most 32,767.
 */
export function tileRelaxed16(blocks: i32, a: usize, w: usize, scale: usize, d: usize, c: usize): void {
  if (!ASC_FEATURE_RELAXED_SIMD) unreachable();
  else {
    for (; blocks > 0; blocks--) {
      let w0 = v128.load(w), w1 = v128.load(w, 16);
      let s = v128.load32_splat(a);
      let c00 = i16x8.relaxed_dot_i8x16_i7x16_s(s, w0), c01 = i16x8.relaxed_dot_i8x16_i7x16_s(s, w1);
      s = v128.load32_splat(a, 4);
      let c10 = i16x8.relaxed_dot_i8x16_i7x16_s(s, w0), c11 = i16x8.relaxed_dot_i8x16_i7x16_s(s, w1);
      s = v128.load32_splat(a, 8);
      let c20 = i16x8.relaxed_dot_i8x16_i7x16_s(s, w0), c21 = i16x8.relaxed_dot_i8x16_i7x16_s(s, w1);
      s = v128.load32_splat(a, 12);
      let c30 = i16x8.relaxed_dot_i8x16_i7x16_s(s, w0), c31 = i16x8.relaxed_dot_i8x16_i7x16_s(s, w1);
      s = v128.load32_splat(a, 16);
      let c40 = i16x8.relaxed_dot_i8x16_i7x16_s(s, w0), c41 = i16x8.relaxed_dot_i8x16_i7x16_s(s, w1);
      for (const end = w + 224; w != end; ) {
        a += 20;
        w += 32;
        w0 = v128.load(w);
        w1 = v128.load(w, 16);
        s = v128.load32_splat(a);
        c00 = dot16(c00, s, w0);
        c01 = dot16(c01, s, w1);
        s = v128.load32_splat(a, 4);
        c10 = dot16(c10, s, w0);
        c11 = dot16(c11, s, w1);
        s = v128.load32_splat(a, 8);
        c20 = dot16(c20, s, w0);
        c21 = dot16(c21, s, w1);
        s = v128.load32_splat(a, 12);
        c30 = dot16(c30, s, w0);
        c31 = dot16(c31, s, w1);
        s = v128.load32_splat(a, 16);
        c40 = dot16(c40, s, w0);
        c41 = dot16(c41, s, w1);
      }
      a += 20;
      w += 32;
      const d0 = v128.load(d), d1 = v128.load(d, 16);
      let x = d0;
      x = v128.load32_splat(scale);
      v128.store(c, add(x, i32x4.dot_i16x8_s(c00, d0), v128.load(c)));
      v128.store(c, add(x, i32x4.dot_i16x8_s(c01, d1), v128.load(c, 16)), 16);
      x = v128.load32_splat(scale, 4);
      v128.store(c, add(x, i32x4.dot_i16x8_s(c10, d0), v128.load(c, 32)), 32);
      v128.store(c, add(x, i32x4.dot_i16x8_s(c11, d1), v128.load(c, 48)), 48);
      x = v128.load32_splat(scale, 8);
      v128.store(c, add(x, i32x4.dot_i16x8_s(c20, d0), v128.load(c, 64)), 64);
      v128.store(c, add(x, i32x4.dot_i16x8_s(c21, d1), v128.load(c, 80)), 80);
      x = v128.load32_splat(scale, 12);
      v128.store(c, add(x, i32x4.dot_i16x8_s(c30, d0), v128.load(c, 96)), 96);
      v128.store(c, add(x, i32x4.dot_i16x8_s(c31, d1), v128.load(c, 112)), 112);
      x = v128.load32_splat(scale, 16);
      v128.store(c, add(x, i32x4.dot_i16x8_s(c40, d0), v128.load(c, 128)), 128);
      v128.store(c, add(x, i32x4.dot_i16x8_s(c41, d1), v128.load(c, 144)), 144);
      d += 32;
      scale += 20;
    }
  }
}

/** As tileRelaxed16, to the bit, with four rows, through the accumulating 32-bit dot. */
export function tileRelaxed32(blocks: i32, a: usize, w: usize, scale: usize, d: usize, c: usize): void {
  if (!ASC_FEATURE_RELAXED_SIMD) unreachable();
  else
    for (; blocks > 0; blocks--) {
      let c00 = i32x4.splat(0), c01 = i32x4.splat(0), c10 = i32x4.splat(0), c11 = i32x4.splat(0);
      let c20 = i32x4.splat(0), c21 = i32x4.splat(0), c30 = i32x4.splat(0), c31 = i32x4.splat(0);
      for (let step = 8; step > 0; step--) {
        const w0 = v128.load(w), w1 = v128.load(w, 16);
        let s = v128.load32_splat(a);
        c00 = i32x4.relaxed_dot_i8x16_i7x16_add_s(s, w0, c00);
        c01 = i32x4.relaxed_dot_i8x16_i7x16_add_s(s, w1, c01);
        s = v128.load32_splat(a, 4);
        c10 = i32x4.relaxed_dot_i8x16_i7x16_add_s(s, w0, c10);
        c11 = i32x4.relaxed_dot_i8x16_i7x16_add_s(s, w1, c11);
        s = v128.load32_splat(a, 8);
        c20 = i32x4.relaxed_dot_i8x16_i7x16_add_s(s, w0, c20);
        c21 = i32x4.relaxed_dot_i8x16_i7x16_add_s(s, w1, c21);
        s = v128.load32_splat(a, 12);
        c30 = i32x4.relaxed_dot_i8x16_i7x16_add_s(s, w0, c30);
        c31 = i32x4.relaxed_dot_i8x16_i7x16_add_s(s, w1, c31);
        a += 16;
        w += 32;
      }
      // of the two equal halves of a word, one with its sign
      const d0 = i32x4.shr_s(v128.load(d), 16), d1 = i32x4.shr_s(v128.load(d, 16), 16);
      addProducts(c, v128.load32_splat(scale), d0, d1, c00, c01);
      addProducts(c + 32, v128.load32_splat(scale, 4), d0, d1, c10, c11);
      addProducts(c + 64, v128.load32_splat(scale, 8), d0, d1, c20, c21);
      addProducts(c + 96, v128.load32_splat(scale, 12), d0, d1, c30, c31);
      d += 32;
      scale += 16;
    }
}

/** As tileRelaxed32 with i16 operands: a [K/2][4 rows][2], w [K/2][8 columns][2]. */
export function tileWide(blocks: i32, a: usize, w: usize, scale: usize, d: usize, c: usize): void {
  for (; blocks > 0; blocks--) {
    let c00 = i32x4.splat(0), c01 = i32x4.splat(0), c10 = i32x4.splat(0), c11 = i32x4.splat(0);
    let c20 = i32x4.splat(0), c21 = i32x4.splat(0), c30 = i32x4.splat(0), c31 = i32x4.splat(0);
    for (let step = 16; step > 0; step--) {
      const w0 = v128.load(w), w1 = v128.load(w, 16);
      let s = v128.load32_splat(a);
      c00 = i32x4.add(c00, i32x4.dot_i16x8_s(s, w0));
      c01 = i32x4.add(c01, i32x4.dot_i16x8_s(s, w1));
      s = v128.load32_splat(a, 4);
      c10 = i32x4.add(c10, i32x4.dot_i16x8_s(s, w0));
      c11 = i32x4.add(c11, i32x4.dot_i16x8_s(s, w1));
      s = v128.load32_splat(a, 8);
      c20 = i32x4.add(c20, i32x4.dot_i16x8_s(s, w0));
      c21 = i32x4.add(c21, i32x4.dot_i16x8_s(s, w1));
      s = v128.load32_splat(a, 12);
      c30 = i32x4.add(c30, i32x4.dot_i16x8_s(s, w0));
      c31 = i32x4.add(c31, i32x4.dot_i16x8_s(s, w1));
      a += 16;
      w += 32;
    }
    const d0 = v128.load(d), d1 = v128.load(d, 16);
    addRow(c, v128.load32_splat(scale), d0, d1, c00, c01);
    addRow(c + 32, v128.load32_splat(scale, 4), d0, d1, c10, c11);
    addRow(c + 64, v128.load32_splat(scale, 8), d0, d1, c20, c21);
    addRow(c + 96, v128.load32_splat(scale, 12), d0, d1, c30, c31);
    d += 32;
    scale += 16;
  }
}
