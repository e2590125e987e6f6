/** Operands of the packed f32 product (gemm.ts): A in slivers of as many rows as a micro-kernel has, B in panels of 8 columns. */

/**
 * Packs `rows` x `kc` of A into slivers of mr rows [ceil(rows/mr)][kc][mr], times alpha; rows beyond the end are zero.
 * rowStride and kStride in bytes: (lda, 4) for A row-major, (4, lda) for A transposed.
 */
export function packA(
  a: usize, rowStride: usize, kStride: usize, rows: i32, kc: i32, mr: i32, alpha: f32, to: usize,
): void {
  for (let i = 0; i < rows; i += mr) {
    const m = min(mr, rows - i);
    if (rowStride == 4 && kStride != 4 && m == mr) {
      const slivers = min(SLIVERS, (rows - i) / mr);
      packColumns(a + (<usize>i << 2), kStride, kc, mr, slivers, alpha, to);
      to += <usize>(slivers * mr * kc) << 2;
      i += (slivers - 1) * mr;
      continue;
    }
    if (kStride == 4 && m == mr && mr != 5) {
      const from = a + <usize>i * rowStride;
      if (mr == 6) packSix(from, rowStride, kc, alpha, to);
      else packFour(from, rowStride, kc, alpha, to, 16);
      to += <usize>(mr * kc) << 2;
      continue;
    }
    for (let r = 0; r < mr; r++) {
      let out = to + (<usize>r << 2);
      const step = <usize>mr << 2;
      if (r >= m) {
        for (let k = 0; k < kc; k++, out += step) store<f32>(out, 0);
      } else packRow(a + <usize>(i + r) * rowStride, kStride, kc, alpha, out, step);
    }
    to += <usize>(mr * kc) << 2;
  }
}

/** Slivers of a transposed A that are packed at once: more lines of cache would be written in turn than level 1 keeps of one set. */
const SLIVERS: i32 = 5;

/** Some whole slivers of a transposed A, whose k-th elements stand beside one another: whole lines are read in a row. */
function packColumns(a: usize, kStride: usize, kc: i32, mr: i32, slivers: i32, alpha: f32, to: usize): void {
  const factor = f32x4.splat(alpha), step = <usize>mr << 2, size = step * <usize>kc;
  for (let k = kc; k > 0; k--, a += kStride, to += step) {
    let from = a, out = to;
    for (let s = slivers; s > 0; s--, from += step, out += size) {
      v128.store(out, f32x4.mul(v128.load(from), factor));
      if (mr == 6) v128.store64_lane(out, f32x4.mul(v128.load64_zero(from, 16), factor), 0, 16);
      else if (mr == 5) store<f32>(out, load<f32>(from, 16) * alpha, 16);
    }
  }
}

/** Six contiguous rows to one sliver [kc][6], by transposing 6 x 4 blocks in registers: whole vectors are stored. */
function packSix(a: usize, stride: usize, kc: i32, alpha: f32, to: usize): void {
  const factor = f32x4.splat(alpha);
  let k = kc;
  for (; k >= 4; k -= 4, a += 16, to += 96) {
    const v0 = f32x4.mul(v128.load(a), factor), v1 = f32x4.mul(v128.load(a + stride), factor);
    const v2 = f32x4.mul(v128.load(a + 2 * stride), factor), v3 = f32x4.mul(v128.load(a + 3 * stride), factor);
    const v4 = f32x4.mul(v128.load(a + 4 * stride), factor), v5 = f32x4.mul(v128.load(a + 5 * stride), factor);
    let s = v128.shuffle<f32>(v0, v1, 0, 4, 1, 5), t = v128.shuffle<f32>(v2, v3, 0, 4, 1, 5);
    let u = v128.shuffle<f32>(v4, v5, 0, 4, 1, 5);
    v128.store(to, v128.shuffle<f32>(s, t, 0, 1, 4, 5));
    v128.store(to, v128.shuffle<f32>(u, s, 0, 1, 6, 7), 16);
    v128.store(to, v128.shuffle<f32>(t, u, 2, 3, 6, 7), 32);
    s = v128.shuffle<f32>(v0, v1, 2, 6, 3, 7);
    t = v128.shuffle<f32>(v2, v3, 2, 6, 3, 7);
    u = v128.shuffle<f32>(v4, v5, 2, 6, 3, 7);
    v128.store(to, v128.shuffle<f32>(s, t, 0, 1, 4, 5), 48);
    v128.store(to, v128.shuffle<f32>(u, s, 0, 1, 6, 7), 64);
    v128.store(to, v128.shuffle<f32>(t, u, 2, 3, 6, 7), 80);
  }
  for (; k > 0; k--, a += 4) {
    for (let r: usize = 0; r < 6; r++, to += 4) store<f32>(to, alpha * load<f32>(a + r * stride));
  }
}

/** Four contiguous rows to columns of four, `step` bytes apart, by transposing 4 x 4 blocks in registers. */
export function packFour(a: usize, stride: usize, kc: i32, alpha: f32, to: usize, step: usize): void {
  const factor = f32x4.splat(alpha);
  let k = kc;
  for (; k >= 4; k -= 4, a += 16) {
    const v0 = f32x4.mul(v128.load(a), factor), v1 = f32x4.mul(v128.load(a + stride), factor);
    const v2 = f32x4.mul(v128.load(a + 2 * stride), factor), v3 = f32x4.mul(v128.load(a + 3 * stride), factor);
    let s = v128.shuffle<f32>(v0, v1, 0, 4, 1, 5), t = v128.shuffle<f32>(v2, v3, 0, 4, 1, 5);
    v128.store(to, v128.shuffle<f32>(s, t, 0, 1, 4, 5));
    v128.store(to + step, v128.shuffle<f32>(s, t, 2, 3, 6, 7));
    to += step << 1;
    s = v128.shuffle<f32>(v0, v1, 2, 6, 3, 7);
    t = v128.shuffle<f32>(v2, v3, 2, 6, 3, 7);
    v128.store(to, v128.shuffle<f32>(s, t, 0, 1, 4, 5));
    v128.store(to + step, v128.shuffle<f32>(s, t, 2, 3, 6, 7));
    to += step << 1;
  }
  for (; k > 0; k--, a += 4, to += step) {
    for (let r: usize = 0; r < 4; r++) store<f32>(to + (r << 2), alpha * load<f32>(a + r * stride));
  }
}

/** kc numbers, kStride bytes apart, times alpha, to places `step` bytes apart. */
// @ts-ignore: decorator
@inline
function packRow(from: usize, kStride: usize, kc: i32, alpha: f32, to: usize, step: usize): void {
  let k = kc;
  if (kStride == 4) {
    const factor = f32x4.splat(alpha);
    for (; k >= 4; k -= 4, from += 16) {
      const v = f32x4.mul(v128.load(from), factor);
      v128.store32_lane(to, v, 0);
      v128.store32_lane(to + step, v, 1);
      to += step << 1;
      v128.store32_lane(to, v, 2);
      v128.store32_lane(to + step, v, 3);
      to += step << 1;
    }
  }
  for (; k > 0; k--, to += step, from += kStride) store<f32>(to, alpha * load<f32>(from));
}

/**
 * Packs `kc` x `cols` of B into panels of 8 columns [ceil(cols/8)][kc][8]; columns beyond the end are zero.
 * kStride and colStride in bytes: (ldb, 4) for B row-major, (4, ldb) for B transposed.
 */
export function packB(b: usize, kStride: usize, colStride: usize, kc: i32, cols: i32, to: usize): void {
  for (let j = 0; j < cols; j += 8) {
    const n = min(8, cols - j);
    const from = b + <usize>j * colStride;
    if (cols - j >= 64 && colStride == 4) {
      // eight panels at once: whole lines of B in a row, and fewer pages
      const panel = <usize>kc << 5;
      for (let k = 0, row = from; k < kc; k++, row += kStride, to += 32) {
        for (let p: usize = 0; p < 8; p++) {
          v128.store(to + p * panel, v128.load(row + (p << 5)));
          v128.store(to + p * panel, v128.load(row + (p << 5), 16), 16);
        }
      }
      to += 7 * panel;
      j += 56;
      continue;
    }
    if (n == 8 && colStride == 4) {
      for (let k = 0, row = from; k < kc; k++, row += kStride, to += 32) {
        v128.store(to, v128.load(row));
        v128.store(to, v128.load(row, 16), 16);
      }
      continue;
    }
    if (n == 8 && kStride == 4) {
      packFour(from, colStride, kc, 1, to, 32);
      packFour(from + 4 * colStride, colStride, kc, 1, to + 16, 32);
      to += <usize>kc << 5;
      continue;
    }
    for (let c = 0; c < 8; c++) {
      let out = to + (<usize>c << 2);
      if (c >= n) {
        for (let k = 0; k < kc; k++, out += 32) store<f32>(out, 0);
      } else {
        let src = from + <usize>c * colStride;
        for (let k = 0; k < kc; k++, out += 32, src += kStride) store<f32>(out, load<f32>(src));
      }
    }
    to += <usize>kc << 5;
  }
}

/**
 * Eight rows of eight numbers (a block of a weight's panel: 8 k of 8 outputs) to their transpose. `cols` of the rows are there, and what
 * they would become is zero beyond.
 */
export function transposeEight(from: usize, cols: i32, to: usize): void {
  if (cols < 8) {
    memory.fill(to, 0, 256);
    for (let c: usize = 0; c < <usize>cols; c++) {
      for (let r: usize = 0; r < 8; r++) store<f32>(to + (r << 5) + (c << 2), load<f32>(from + (c << 5) + (r << 2)));
    }
    return;
  }
  for (let i: usize = 0; i < 2; i++) {
    transposeFour(from + (i << 7), to + (i << 4));
    transposeFour(from + (i << 7) + 16, to + (i << 4) + 128);
  }
}

/** Four rows of four numbers, 32 bytes apart, to their transpose. */
// @ts-ignore: decorator
@inline
function transposeFour(from: usize, to: usize): void {
  const v0 = v128.load(from), v1 = v128.load(from, 32), v2 = v128.load(from, 64), v3 = v128.load(from, 96);
  let s = v128.shuffle<f32>(v0, v1, 0, 4, 1, 5), t = v128.shuffle<f32>(v2, v3, 0, 4, 1, 5);
  v128.store(to, v128.shuffle<f32>(s, t, 0, 1, 4, 5));
  v128.store(to, v128.shuffle<f32>(s, t, 2, 3, 6, 7), 32);
  s = v128.shuffle<f32>(v0, v1, 2, 6, 3, 7);
  t = v128.shuffle<f32>(v2, v3, 2, 6, 3, 7);
  v128.store(to, v128.shuffle<f32>(s, t, 0, 1, 4, 5), 64);
  v128.store(to, v128.shuffle<f32>(s, t, 2, 3, 6, 7), 96);
}
