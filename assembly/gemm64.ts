/**
 * f64 matrix product on packed panels: C[M, N] (+)= alpha · A[M, K] · B[K, N], the scheme of gemm.ts (Goto and van de Geijn
 * 2008) at two numbers a vector.
 *
 * A is packed in slivers of `mr` rows, k-major: [ceil(M/mr)][K][mr]; B in panels of 4 columns: [ceil(N/4)][K][4]. The fused
 * micro-kernel is 6x4: 12 accumulators, two of B and one of A are V8's 15 vector registers. Unfused products need one more for the
 * product, so there it is 5x4.
 */

/** Depth of a block: a sliver (12 KiB) and a panel (8 KiB) fill level 1. */
const KC: i32 = 256;
/** Rows of a block, a multiple of 5 and 6: a block of A (240 KiB) fills half of level 2. */
const MC: i32 = 120;
/** Columns of a block: a block of B is 2 MiB. */
const NC: i32 = 1024;

/** Rows of the micro-kernel's tile. */
// @ts-ignore: decorator
@inline
function tileRows64(): i32 {
  return ASC_FEATURE_RELAXED_SIMD ? 6 : 5;
}

// @ts-ignore: decorator
@inline
function start(c: usize, mask: v128): v128 {
  return v128.and(v128.load(c), mask);
}

/** One 6x4 tile. Not inlined: V8 spills where it is. a, b: packed; c: row-major, ldc bytes between rows. */
export function micro64Fused(kc: i32, a: usize, b: usize, c: usize, ldc: usize, accumulate: i32): void {
  if (ASC_FEATURE_RELAXED_SIMD) {
    let c00 = f64x2.splat(0), c01 = f64x2.splat(0), c10 = f64x2.splat(0), c11 = f64x2.splat(0);
    let c20 = f64x2.splat(0), c21 = f64x2.splat(0), c30 = f64x2.splat(0), c31 = f64x2.splat(0);
    let c40 = f64x2.splat(0), c41 = f64x2.splat(0), c50 = f64x2.splat(0), c51 = f64x2.splat(0);
    for (const end = b + (<usize>kc << 5); b != end; ) {
      const b0 = v128.load(b), b1 = v128.load(b, 16);
      let s = v128.load64_splat(a);
      c00 = f64x2.relaxed_madd(s, b0, c00); c01 = f64x2.relaxed_madd(s, b1, c01);
      s = v128.load64_splat(a, 8);
      c10 = f64x2.relaxed_madd(s, b0, c10); c11 = f64x2.relaxed_madd(s, b1, c11);
      s = v128.load64_splat(a, 16);
      c20 = f64x2.relaxed_madd(s, b0, c20); c21 = f64x2.relaxed_madd(s, b1, c21);
      s = v128.load64_splat(a, 24);
      c30 = f64x2.relaxed_madd(s, b0, c30); c31 = f64x2.relaxed_madd(s, b1, c31);
      s = v128.load64_splat(a, 32);
      c40 = f64x2.relaxed_madd(s, b0, c40); c41 = f64x2.relaxed_madd(s, b1, c41);
      s = v128.load64_splat(a, 40);
      c50 = f64x2.relaxed_madd(s, b0, c50); c51 = f64x2.relaxed_madd(s, b1, c51);
      a += 48;
      b += 32;
    }
    put(c, accumulate, c00, c01); c += ldc;
    put(c, accumulate, c10, c11); c += ldc;
    put(c, accumulate, c20, c21); c += ldc;
    put(c, accumulate, c30, c31); c += ldc;
    put(c, accumulate, c40, c41); c += ldc;
    put(c, accumulate, c50, c51);
  } else unreachable();
}

// @ts-ignore: decorator
@inline
function put(c: usize, accumulate: i32, v0: v128, v1: v128): void {
  if (accumulate) {
    v0 = f64x2.add(v128.load(c), v0);
    v1 = f64x2.add(v128.load(c, 16), v1);
  }
  v128.store(c, v0);
  v128.store(c, v1, 16);
}

/** One 5x4 tile, rounded twice. It begins with C by a mask: Node 20 keeps accumulators in registers if only stores follow the loop. */
export function micro64Unfused(kc: i32, a: usize, b: usize, c: usize, ldc: usize, accumulate: i32): void {
  const mask = i32x4.splat(-i32(accumulate != 0));
  let c00 = start(c, mask), c01 = start(c + 16, mask);
  let c10 = start(c + ldc, mask), c11 = start(c + ldc + 16, mask);
  let c20 = start(c + 2 * ldc, mask), c21 = start(c + 2 * ldc + 16, mask);
  let c30 = start(c + 3 * ldc, mask), c31 = start(c + 3 * ldc + 16, mask);
  let c40 = start(c + 4 * ldc, mask), c41 = start(c + 4 * ldc + 16, mask);
  for (const end = b + (<usize>kc << 5); b != end; ) {
    const b0 = v128.load(b), b1 = v128.load(b, 16);
    let s = v128.load64_splat(a);
    c00 = f64x2.add(f64x2.mul(s, b0), c00); c01 = f64x2.add(f64x2.mul(s, b1), c01);
    s = v128.load64_splat(a, 8);
    c10 = f64x2.add(f64x2.mul(s, b0), c10); c11 = f64x2.add(f64x2.mul(s, b1), c11);
    s = v128.load64_splat(a, 16);
    c20 = f64x2.add(f64x2.mul(s, b0), c20); c21 = f64x2.add(f64x2.mul(s, b1), c21);
    s = v128.load64_splat(a, 24);
    c30 = f64x2.add(f64x2.mul(s, b0), c30); c31 = f64x2.add(f64x2.mul(s, b1), c31);
    s = v128.load64_splat(a, 32);
    c40 = f64x2.add(f64x2.mul(s, b0), c40); c41 = f64x2.add(f64x2.mul(s, b1), c41);
    a += 40;
    b += 32;
  }
  v128.store(c, c00); v128.store(c, c01, 16); c += ldc;
  v128.store(c, c10); v128.store(c, c11, 16); c += ldc;
  v128.store(c, c20); v128.store(c, c21, 16); c += ldc;
  v128.store(c, c30); v128.store(c, c31, 16); c += ldc;
  v128.store(c, c40); v128.store(c, c41, 16);
}

// @ts-ignore: decorator
@inline
function micro64(kc: i32, a: usize, b: usize, c: usize, ldc: usize, accumulate: i32): void {
  if (ASC_FEATURE_RELAXED_SIMD) micro64Fused(kc, a, b, c, ldc, accumulate);
  else micro64Unfused(kc, a, b, c, ldc, accumulate);
}

/** A tile at the edge of C: through a full tile in scratch (6 * 32 bytes), of which rows x cols are kept. */
function microEdge64(
  kc: i32, a: usize, b: usize, c: usize, ldc: usize, accumulate: i32, rows: i32, cols: i32, tile: usize,
): void {
  micro64(kc, a, b, tile, 32, 0);
  for (let i = 0; i < rows; i++) {
    const to = c + <usize>i * ldc, from = tile + (<usize>i << 5);
    for (let j: usize = 0; j < <usize>cols; j++) {
      const v = load<f64>(from + (j << 3));
      store<f64>(to + (j << 3), accumulate ? load<f64>(to + (j << 3)) + v : v);
    }
  }
}

/** Two rows of contiguous numbers, times alpha, side by side, `step` bytes from one pair to the next. */
// @ts-ignore: decorator
@inline
function packRows(a: usize, stride: usize, kc: i32, alpha: f64, to: usize, step: usize): void {
  const factor = f64x2.splat(alpha);
  let k = kc, b = a + stride;
  for (; k >= 2; k -= 2, a += 16, b += 16, to += step << 1) {
    const u = f64x2.mul(factor, v128.load(a)), v = f64x2.mul(factor, v128.load(b));
    v128.store(to, v128.shuffle<f64>(u, v, 0, 2));
    v128.store(to + step, v128.shuffle<f64>(u, v, 1, 3));
  }
  if (k > 0) {
    store<f64>(to, alpha * load<f64>(a));
    store<f64>(to, alpha * load<f64>(b), 8);
  }
}

/** Packs rows x kc of A into slivers of mr rows, times alpha; rows beyond the end are zero. Strides in bytes. */
function packA64(a: usize, rowStride: usize, kStride: usize, rows: i32, kc: i32, alpha: f64, to: usize): void {
  const mr = tileRows64(), step = <usize>mr << 3;
  for (let i = 0; i < rows; i += mr) {
    const m = min(mr, rows - i);
    if (kStride == 8) {
      let r = 0;
      for (; r + 2 <= m; r += 2) packRows(a + <usize>(i + r) * rowStride, rowStride, kc, alpha, to + (<usize>r << 3), step);
      if (r < m) {
        let out = to + (<usize>r << 3), from = a + <usize>(i + r) * rowStride;
        for (let k = 0; k < kc; k++, out += step, from += 8) store<f64>(out, alpha * load<f64>(from));
      }
    } else {
      let out = to, from = a + <usize>i * rowStride;
      if (rowStride == 8 && m == 6) {
        const factor = f64x2.splat(alpha);
        for (let k = 0; k < kc; k++, out += step, from += kStride) {
          v128.store(out, f64x2.mul(factor, v128.load(from)));
          v128.store(out, f64x2.mul(factor, v128.load(from, 16)), 16);
          v128.store(out, f64x2.mul(factor, v128.load(from, 32)), 32);
        }
      } else {
        for (let k = 0; k < kc; k++, out += step, from += kStride) {
          for (let r: usize = 0; r < <usize>m; r++) store<f64>(out + (r << 3), alpha * load<f64>(from + r * rowStride));
        }
      }
    }
    for (let r = m; r < mr; r++) {
      let out = to + (<usize>r << 3);
      for (let k = 0; k < kc; k++, out += step) store<f64>(out, 0);
    }
    to += <usize>kc * step;
  }
}

/** Packs kc x cols of B into panels of 4 columns; columns beyond the end are zero. Strides in bytes. */
function packB64(b: usize, kStride: usize, colStride: usize, kc: i32, cols: i32, to: usize): void {
  for (let j = 0; j < cols; j += 4) {
    const n = min(4, cols - j);
    let from = b + <usize>j * colStride;
    if (n == 4 && colStride == 8) {
      for (let k = 0; k < kc; k++, from += kStride, to += 32) {
        v128.store(to, v128.load(from));
        v128.store(to, v128.load(from, 16), 16);
      }
      continue;
    }
    if (n == 4 && kStride == 8) {
      packRows(from, colStride, kc, 1, to, 32);
      packRows(from + 2 * colStride, colStride, kc, 1, to + 16, 32);
      to += <usize>kc << 5;
      continue;
    }
    for (let c = 0; c < 4; c++) {
      let out = to + (<usize>c << 3), src = from + <usize>c * colStride;
      if (c >= n) for (let k = 0; k < kc; k++, out += 32) store<f64>(out, 0);
      else for (let k = 0; k < kc; k++, out += 32, src += kStride) store<f64>(out, load<f64>(src));
    }
    to += <usize>kc << 5;
  }
}

/** Bytes of scratch memory that gemm64 needs for N = n and K = k. */
export function gemm64Scratch(n: i32, k: i32): usize {
  const kc = <usize>min(KC, k);
  return (<usize>MC * kc << 3) + 256 + (kc * <usize>((min(NC, n) + 3) & ~3) << 3);
}

/**
 * C[m, n] (+)= alpha · A[m, k] · B[k, n]. Strides in bytes: (lda, 8) is row-major, (8, lda) transposed. C is row-major.
 * Tiles whose every column lies left of row + diagonal are left alone: with diagonal = 0 the upper triangle is
 * computed (and of the tiles across it a little below), with diagonal = -m everything. Rows and columns can be shared out by
 * moving the addresses.
 */
export function gemm64(
  m: i32, n: i32, k: i32, alpha: f64, a: usize, aRowStride: usize, aKStride: usize, b: usize, bKStride: usize,
  bColStride: usize, c: usize, ldc: usize, accumulate: i32, diagonal: i32, scratch: usize,
): void {
  const mr = tileRows64(), depth = <usize>min(KC, k);
  const packedA = scratch, tile = scratch + (<usize>MC * depth << 3), packedB = tile + 256;
  if (k == 0 && !accumulate) {
    for (let i = 0; i < m; i++) memory.fill(c + <usize>i * ldc, 0, <usize>n << 3);
    return;
  }
  for (let jc = 0; jc < n; jc += NC) {
    const nc = min(NC, n - jc);
    for (let pc = 0; pc < k; pc += KC) {
      const kc = min(KC, k - pc), add = i32(accumulate != 0 || pc > 0);
      packB64(b + <usize>pc * bKStride + <usize>jc * bColStride, bKStride, bColStride, kc, nc, packedB);
      for (let ic = 0; ic < m; ic += MC) {
        const mc = min(MC, m - ic);
        if (jc + nc <= ic + diagonal) break;
        packA64(a + <usize>ic * aRowStride + <usize>pc * aKStride, aRowStride, aKStride, mc, kc, alpha, packedA);
        const sliver = <usize>(mr * kc) << 3;
        for (let j = 0; j < nc; j += 4) {
          const panel = packedB + (<usize>(j * kc) << 3), cols = min(4, nc - j);
          let from = packedA, to = c + <usize>ic * ldc + (<usize>(jc + j) << 3);
          for (let i = 0; i < mc; i += mr, from += sliver, to += <usize>mr * ldc) {
            if (jc + j + 3 < ic + i + diagonal) break;
            const rows = min(mr, mc - i);
            if (rows == mr && cols == 4) micro64(kc, from, panel, to, ldc, add);
            else microEdge64(kc, from, panel, to, ldc, add, rows, cols, tile);
          }
        }
      }
    }
  }
}
