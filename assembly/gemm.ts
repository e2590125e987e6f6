/**
 * f32 matrix product on packed panels: C[M, N] (+)= A[M, K] · B[K, N].
 *
 * A is packed in slivers of `mr` rows, k-major: [ceil(M/mr)][K][mr]. B is packed in panels of 8 columns: [ceil(N/8)][K][8].
 * A micro-kernel keeps one mr x 8 tile of C in registers and walks k once. V8 has 15 usable vector registers on x86: the
 * accumulators, two of B, one of A and (unfused) one temporary must fit, which is why there are several shapes. Do not
 * unroll k by hand and do not let these functions be inlined: both make V8 spill, at half the speed.
 */
import { packA, packB } from './pack';

/** Product and sum: fused where the type parameter is one byte wide, rounded twice otherwise. */
// @ts-ignore: decorator
@inline
function madd<F>(a: v128, b: v128, c: v128): v128 {
  if (sizeof<F>() == 1) return f32x4.relaxed_madd(a, b, c);
  return f32x4.add(f32x4.mul(a, b), c);
}

/**
 * Where an accumulator begins. Unfused kernels begin with what is in C, or zeros, by a mask: V8's older compiler (Node 20), for
 * which they are, keeps the accumulators in registers only if nothing but stores follows the loop, at twice the speed. Fused ones
 * begin with zero and add C at the end, when it has arrived.
 */
// @ts-ignore: decorator
@inline
function first<F>(c: usize, mask: v128): v128 {
  return sizeof<F>() == 1 ? f32x4.splat(0) : v128.and(v128.load(c), mask);
}

// @ts-ignore: decorator
@inline
function last<F>(c: usize, accumulate: i32, v0: v128, v1: v128): void {
  if (sizeof<F>() == 1 && accumulate) {
    v0 = f32x4.add(v128.load(c), v0);
    v1 = f32x4.add(v128.load(c, 16), v1);
  }
  v128.store(c, v0);
  v128.store(c, v1, 16);
}

// @ts-ignore: decorator
@inline
function splat6x8<F>(kc: i32, a: usize, b: usize, c: usize, ldc: usize, accumulate: i32): void {
  const mask = i32x4.splat(-i32(accumulate != 0));
  let c00 = first<F>(c, mask), c01 = first<F>(c + 16, mask);
  let c10 = first<F>(c + ldc, mask), c11 = first<F>(c + ldc + 16, mask);
  let c20 = first<F>(c + 2 * ldc, mask), c21 = first<F>(c + 2 * ldc + 16, mask);
  let c30 = first<F>(c + 3 * ldc, mask), c31 = first<F>(c + 3 * ldc + 16, mask);
  let c40 = first<F>(c + 4 * ldc, mask), c41 = first<F>(c + 4 * ldc + 16, mask);
  let c50 = first<F>(c + 5 * ldc, mask), c51 = first<F>(c + 5 * ldc + 16, mask);
  for (const end = b + (<usize>kc << 5); b != end; ) {
    const b0 = v128.load(b), b1 = v128.load(b, 16);
    let s = v128.load32_splat(a);
    c00 = madd<F>(s, b0, c00); c01 = madd<F>(s, b1, c01);
    s = v128.load32_splat(a, 4);
    c10 = madd<F>(s, b0, c10); c11 = madd<F>(s, b1, c11);
    s = v128.load32_splat(a, 8);
    c20 = madd<F>(s, b0, c20); c21 = madd<F>(s, b1, c21);
    s = v128.load32_splat(a, 12);
    c30 = madd<F>(s, b0, c30); c31 = madd<F>(s, b1, c31);
    s = v128.load32_splat(a, 16);
    c40 = madd<F>(s, b0, c40); c41 = madd<F>(s, b1, c41);
    s = v128.load32_splat(a, 20);
    c50 = madd<F>(s, b0, c50); c51 = madd<F>(s, b1, c51);
    a += 24;
    b += 32;
  }
  last<F>(c, accumulate, c00, c01); c += ldc;
  last<F>(c, accumulate, c10, c11); c += ldc;
  last<F>(c, accumulate, c20, c21); c += ldc;
  last<F>(c, accumulate, c30, c31); c += ldc;
  last<F>(c, accumulate, c40, c41); c += ldc;
  last<F>(c, accumulate, c50, c51);
}

// @ts-ignore: decorator
@inline
function splat5x8<F>(kc: i32, a: usize, b: usize, c: usize, ldc: usize, accumulate: i32): void {
  const mask = i32x4.splat(-i32(accumulate != 0));
  let c00 = first<F>(c, mask), c01 = first<F>(c + 16, mask);
  let c10 = first<F>(c + ldc, mask), c11 = first<F>(c + ldc + 16, mask);
  let c20 = first<F>(c + 2 * ldc, mask), c21 = first<F>(c + 2 * ldc + 16, mask);
  let c30 = first<F>(c + 3 * ldc, mask), c31 = first<F>(c + 3 * ldc + 16, mask);
  let c40 = first<F>(c + 4 * ldc, mask), c41 = first<F>(c + 4 * ldc + 16, mask);
  for (const end = b + (<usize>kc << 5); b != end; ) {
    const b0 = v128.load(b), b1 = v128.load(b, 16);
    let s = v128.load32_splat(a);
    c00 = madd<F>(s, b0, c00); c01 = madd<F>(s, b1, c01);
    s = v128.load32_splat(a, 4);
    c10 = madd<F>(s, b0, c10); c11 = madd<F>(s, b1, c11);
    s = v128.load32_splat(a, 8);
    c20 = madd<F>(s, b0, c20); c21 = madd<F>(s, b1, c21);
    s = v128.load32_splat(a, 12);
    c30 = madd<F>(s, b0, c30); c31 = madd<F>(s, b1, c31);
    s = v128.load32_splat(a, 16);
    c40 = madd<F>(s, b0, c40); c41 = madd<F>(s, b1, c41);
    a += 20;
    b += 32;
  }
  last<F>(c, accumulate, c00, c01); c += ldc;
  last<F>(c, accumulate, c10, c11); c += ldc;
  last<F>(c, accumulate, c20, c21); c += ldc;
  last<F>(c, accumulate, c30, c31); c += ldc;
  last<F>(c, accumulate, c40, c41);
}

/** One load of A for four rows and lane shuffles: 3 memory operations a step instead of 8, for engines that check bounds. */
// @ts-ignore: decorator
@inline
function lane4x8<F>(kc: i32, a: usize, b: usize, c: usize, ldc: usize, accumulate: i32): void {
  const mask = i32x4.splat(-i32(accumulate != 0));
  let c00 = first<F>(c, mask), c01 = first<F>(c + 16, mask);
  let c10 = first<F>(c + ldc, mask), c11 = first<F>(c + ldc + 16, mask);
  let c20 = first<F>(c + 2 * ldc, mask), c21 = first<F>(c + 2 * ldc + 16, mask);
  let c30 = first<F>(c + 3 * ldc, mask), c31 = first<F>(c + 3 * ldc + 16, mask);
  for (const end = b + (<usize>kc << 5); b != end; ) {
    const b0 = v128.load(b), b1 = v128.load(b, 16), row = v128.load(a);
    let s = v128.shuffle<f32>(row, row, 0, 0, 0, 0);
    c00 = madd<F>(s, b0, c00); c01 = madd<F>(s, b1, c01);
    s = v128.shuffle<f32>(row, row, 1, 1, 1, 1);
    c10 = madd<F>(s, b0, c10); c11 = madd<F>(s, b1, c11);
    s = v128.shuffle<f32>(row, row, 2, 2, 2, 2);
    c20 = madd<F>(s, b0, c20); c21 = madd<F>(s, b1, c21);
    s = v128.shuffle<f32>(row, row, 3, 3, 3, 3);
    c30 = madd<F>(s, b0, c30); c31 = madd<F>(s, b1, c31);
    a += 16;
    b += 32;
  }
  last<F>(c, accumulate, c00, c01); c += ldc;
  last<F>(c, accumulate, c10, c11); c += ldc;
  last<F>(c, accumulate, c20, c21); c += ldc;
  last<F>(c, accumulate, c30, c31);
}

// Exported so that the optimiser keeps each as a function of its own. a, b: packed; c: row-major, ldc bytes between rows.
export function micro6x8Unfused(kc: i32, a: usize, b: usize, c: usize, ldc: usize, accumulate: i32): void {
  splat6x8<u16>(kc, a, b, c, ldc, accumulate);
}
export function micro5x8Unfused(kc: i32, a: usize, b: usize, c: usize, ldc: usize, accumulate: i32): void {
  splat5x8<u16>(kc, a, b, c, ldc, accumulate);
}
export function micro4x8Unfused(kc: i32, a: usize, b: usize, c: usize, ldc: usize, accumulate: i32): void {
  lane4x8<u16>(kc, a, b, c, ldc, accumulate);
}
export function micro6x8Fused(kc: i32, a: usize, b: usize, c: usize, ldc: usize, accumulate: i32): void {
  if (ASC_FEATURE_RELAXED_SIMD) splat6x8<u8>(kc, a, b, c, ldc, accumulate);
  else unreachable();
}
/** For the minima of 5-row integer tiles (linear.ts). */
export function micro5x8Fused(kc: i32, a: usize, b: usize, c: usize, ldc: usize, accumulate: i32): void {
  if (ASC_FEATURE_RELAXED_SIMD) splat5x8<u8>(kc, a, b, c, ldc, accumulate);
  else unreachable();
}
export function micro4x8Fused(kc: i32, a: usize, b: usize, c: usize, ldc: usize, accumulate: i32): void {
  if (ASC_FEATURE_RELAXED_SIMD) lane4x8<u8>(kc, a, b, c, ldc, accumulate);
  else unreachable();
}

/** The micro-kernels by number: which is fastest is measured at start (src/device/wasm/tune.ts). */
export const enum Micro {
  Splat6Fused = 0,
  Lane4Fused = 1,
  Splat6 = 2,
  Lane4 = 3,
  Splat5 = 4,
}

/** Rows of the tile of a micro-kernel. */
// @ts-ignore: decorator
@inline
export function microRows(kernel: i32): i32 {
  return kernel == Micro.Splat6Fused || kernel == Micro.Splat6 ? 6 : kernel == Micro.Splat5 ? 5 : 4;
}

// @ts-ignore: decorator
@inline
export function micro(kernel: i32, kc: i32, a: usize, b: usize, c: usize, ldc: usize, accumulate: i32): void {
  if (kernel == Micro.Splat6Fused) micro6x8Fused(kc, a, b, c, ldc, accumulate);
  else if (kernel == Micro.Lane4Fused) micro4x8Fused(kc, a, b, c, ldc, accumulate);
  else if (kernel == Micro.Splat5) micro5x8Unfused(kc, a, b, c, ldc, accumulate);
  else if (kernel == Micro.Lane4) micro4x8Unfused(kc, a, b, c, ldc, accumulate);
  else micro6x8Unfused(kc, a, b, c, ldc, accumulate);
}

/**
 * A tile at the edge of C: through a full tile in scratch (mr * 32 bytes), of which rows x cols are kept. What is in C goes through it too:
 * a number is then summed in the same order as in any other tile, so that unfused kernels agree to the bit whatever their shape.
 */
export function microEdge(
  kernel: i32, kc: i32, a: usize, b: usize, c: usize, ldc: usize, accumulate: i32, rows: i32, cols: i32, tile: usize,
): void {
  if (accumulate) {
    for (let i = 0; i < rows; i++) {
      const from = c + <usize>i * ldc, to = tile + (<usize>i << 5);
      for (let j: usize = 0; j < <usize>cols; j++) store<f32>(to + (j << 2), load<f32>(from + (j << 2)));
    }
  }
  micro(kernel, kc, a, b, tile, 32, accumulate);
  for (let i = 0; i < rows; i++) {
    const to = c + <usize>i * ldc, from = tile + (<usize>i << 5);
    for (let j: usize = 0; j < <usize>cols; j++) store<f32>(to + (j << 2), load<f32>(from + (j << 2)));
  }
}

/**
 * C[rows, cols] (+)= packed A[rows, kc] · packed B[kc, cols]: all tiles of one block. aStride and bStride: bytes from one
 * sliver or panel to the next, so that a caller may walk k inside panels that are longer than kc.
 */
export function gemmBlock(
  kernel: i32, rows: i32, cols: i32, kc: i32, a: usize, aStride: usize, b: usize, bStride: usize, c: usize, ldc: usize,
  accumulate: i32, tile: usize,
): void {
  const mr = microRows(kernel);
  for (let j = 0; j < cols; j += 8) {
    let sliver = a;
    const n = min(8, cols - j);
    for (let i = 0; i < rows; i += mr) {
      const m = min(mr, rows - i);
      const at = c + <usize>i * ldc + (<usize>j << 2);
      if (m == mr && n == 8) micro(kernel, kc, sliver, b, at, ldc, accumulate);
      else microEdge(kernel, kc, sliver, b, at, ldc, accumulate, m, n, tile);
      sliver += aStride;
    }
    b += bStride;
  }
}

/** Block sizes, measured: a sliver and a panel of KC fill level 1; a block of A takes a quarter of level 2, through which B streams too. */
export const KC: i32 = 512;
export const MC: i32 = 60; // a multiple of 4, 5 and 6

/** Bytes of scratch that `gemm` needs for a range of `n` columns. */
export function gemmScratch(n: i32): usize {
  return (<usize>(MC * KC) << 2) + (<usize>(min(n, NC) + 8) * KC << 2) + 256;
}
export const NC: i32 = 2048;

/**
 * C[m, n] = alpha · op(A) · op(B) (+ C when accumulate). Strides in bytes as in packA and packB. A lane computes the range of
 * rows or columns that it is given through the pointers; scratch: gemmScratch(n) bytes of its own.
 */
export function gemm(
  kernel: i32, m: i32, n: i32, k: i32, alpha: f32, a: usize, aRowStride: usize, aKStride: usize, b: usize, bKStride: usize,
  bColStride: usize, c: usize, ldc: usize, accumulate: i32, scratch: usize,
): void {
  const mr = microRows(kernel);
  const packedA = scratch, tile = scratch + (<usize>(MC * KC) << 2), packedB = tile + 256;
  if (k == 0 && !accumulate) {
    for (let i = 0; i < m; i++) memory.fill(c + <usize>i * ldc, 0, <usize>n << 2);
    return;
  }
  for (let jc = 0; jc < n; jc += NC) {
    const nc = min(NC, n - jc);
    for (let pc = 0; pc < k; pc += KC) {
      const kc = min(KC, k - pc);
      packB(b + <usize>pc * bKStride + <usize>jc * bColStride, bKStride, bColStride, kc, nc, packedB);
      for (let ic = 0; ic < m; ic += MC) {
        const mc = min(MC, m - ic);
        packA(a + <usize>ic * aRowStride + <usize>pc * aKStride, aRowStride, aKStride, mc, kc, mr, alpha, packedA);
        gemmBlock(
          kernel, mc, nc, kc, packedA, <usize>(mr * kc) << 2, packedB, <usize>kc << 5,
          c + <usize>ic * ldc + (<usize>jc << 2), ldc, i32(accumulate != 0 || pc > 0), tile,
        );
      }
    }
  }
}
