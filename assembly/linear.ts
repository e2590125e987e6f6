/**
 * y[M, N] = x[M, K] · W[N, K]^T with W in panels: prefill and small batches. Each function computes the panels first..last-1
 * (columns 8·first ..) for all M rows, from scratch of its own, so lanes can share a product by columns.
 */
import { KC as DEPTH, MC as ROWS, NC as COLUMNS, gemmBlock, gemmScratch, micro4x8Fused, micro4x8Unfused, micro5x8Fused, microRows } from './gemm';
import { Dot, tileRelaxed16, tileRelaxed32, tileRows, tileWide } from './int8';
import { EXP, MASKS } from './math';
import { GROUP, apartBlocks } from './quantise';
import { packA, transposeEight } from './pack';
import { Type, blockBytes, codeBytes, halves, hasMinima, isQ8, panelBytes, unpackPanel, unshift } from './panel';

const KC: i32 = 256; // a multiple of 32
const MC: i32 = 240; // a multiple of 4, 5 and 6

/** Bytes of scratch for linearExact. */
export function linearExactScratch(): usize {
  return (<usize>(MC * KC) << 2) + (<usize>KC << 5) + 256;
}

/**
 * With f32 activations, exact but for rounding. x: rows xStride bytes apart; y: yStride. kernel: a micro-kernel of gemm.ts;
 * shift: of the scales (panel.ts).
 */
export function linearExact(
  kernel: i32, m: i32, k: i32, n: i32, x: usize, xStride: usize, type: i32, panels: usize, shift: i32, first: i32,
  last: i32, y: usize, yStride: usize, scratch: usize,
): void {
  const mr = microRows(kernel), bytes = panelBytes(type, k);
  const packed = scratch, panel = packed + (<usize>(MC * KC) << 2), tile = panel + (<usize>KC << 5);
  for (let ic = 0; ic < m; ic += MC) {
    const mc = min(MC, m - ic);
    for (let pc = 0; pc < k; pc += KC) {
      const kc = min(KC, k - pc);
      packA(x + <usize>ic * xStride + (<usize>pc << 2), xStride, 4, mc, kc, mr, 1, packed);
      for (let p = first; p < last; p++) {
        let b = panels + bytes * <usize>p;
        if (type == Type.F32) b += <usize>pc << 5;
        else {
          unpackPanel(type, b, k, pc, kc, shift, panel);
          b = panel;
        }
        gemmBlock(
          kernel, mc, min(8, n - (p << 3)), kc, packed, <usize>(mr * kc) << 2, b, 0,
          y + <usize>ic * yStride + (<usize>p << 5), yStride, i32(pc > 0), tile,
        );
      }
    }
  }
}

/** Columns of a weight that linearBackward unpacks at a time, to level 1. */
const UNPACKED: i32 = 64;

/** Bytes of scratch for linearBackward over a range of `columns` columns. */
export function linearBackwardScratch(columns: i32): usize {
  return gemmScratch(columns) + (<usize>UNPACKED << 5);
}

/**
 * The way back: the columns first..last-1 (first a multiple of 32) of dX[M, K] (+)= dY[M, N] · W[N, K], all row-major but W. It is
 * `gemm` but for its second operand, which comes out of the weight's panels, dequantised and transposed: that costs as much as a few rows.
 */
export function linearBackward(
  kernel: i32, m: i32, n: i32, k: i32, dY: usize, type: i32, panels: usize, shift: i32, first: i32, last: i32, dX: usize,
  accumulate: i32, scratch: usize,
): void {
  const mr = microRows(kernel), yStride = <usize>n << 2, xStride = <usize>k << 2;
  const packed = scratch, tile = packed + (<usize>(ROWS * DEPTH) << 2), temp = tile + 256, w = temp + (<usize>UNPACKED << 5);
  if (n == 0 && !accumulate) {
    for (let i = 0; i < m; i++) memory.fill(dX + <usize>i * xStride + (<usize>first << 2), 0, <usize>(last - first) << 2);
  }
  for (let jc = first; jc < last; jc += COLUMNS) {
    const nc = min(COLUMNS, last - jc);
    for (let pc = 0; pc < n; pc += DEPTH) {
      const kc = min(DEPTH, n - pc);
      packRows(type, panels, k, shift, pc, kc, jc, nc, temp, w);
      for (let ic = 0; ic < m; ic += ROWS) {
        const mc = min(ROWS, m - ic);
        packA(dY + <usize>ic * yStride + (<usize>pc << 2), yStride, 4, mc, kc, mr, 1, packed);
        gemmBlock(
          kernel, mc, nc, kc, packed, <usize>(mr * kc) << 2, w, <usize>((kc + 7) & ~7) << 5,
          dX + <usize>ic * xStride + (<usize>jc << 2), xStride, i32(accumulate != 0 || pc > 0), tile,
        );
      }
    }
  }
}

/**
 * `cols` columns from c0 on of `rows` rows from r0 on (a multiple of 8) of W as the second operand of a product: to
 * [ceil(cols/8)][rows, in whole panels][8]. temp: UNPACKED · 32 bytes.
 */
function packRows(
  type: i32, panels: usize, k: i32, shift: i32, r0: i32, rows: i32, c0: i32, cols: i32, temp: usize, to: usize,
): void {
  const bytes = panelBytes(type, k), stride = <usize>((rows + 7) & ~7) << 5;
  for (let p = r0 >> 3; p < (r0 + rows + 7) >> 3; p++, to += 256) {
    const panel = panels + bytes * <usize>p;
    for (let c = 0; c < cols; c += UNPACKED) {
      const count = min(UNPACKED, cols - c);
      let from = panel + (<usize>(c0 + c) << 5);
      if (type != Type.F32) {
        unpackPanel(type, panel, k, c0 + c, count, shift, temp);
        from = temp;
      }
      for (let j = 0; j < count; j += 8, from += 256) {
        transposeEight(from, min(8, count - j), to + <usize>((c + j) >> 3) * stride);
      }
    }
  }
}

/** 4-bit codes of a panel to bytes [K/4][8 columns][4]. */
function unpackNibbles(type: i32, panel: usize, k: i32, to: usize): void {
  for (let b = k >> 5; b > 0; b--, panel += blockBytes(type)) {
    for (let s: usize = 0; s < 128; s += 16, to += 32) {
      const w = v128.load(panel + s);
      v128.store(to, v128.and(w, v128.load(MASKS)));
      v128.store(to, v128.and(i16x8.shr_u(w, 4), v128.load(MASKS)), 16);
    }
  }
}

/** Codes of a panel as i16 [K/2][8 columns][2] in even-odd order of k; q4_0 with its offset of 8 taken off. */
function unpackWide(type: i32, panel: usize, k: i32, to: usize): void {
  const offset = i16x8.splat(type == Type.Q4_0 ? 8 : 0);
  for (let b = k >> 5; b > 0; b--, panel += blockBytes(type)) {
    if (isQ8(type)) {
      for (let s: usize = 0; s < 256; s += 32, to += 64) {
        const w0 = v128.load(panel + s), w1 = v128.load(panel + s, 16);
        v128.store(to, i16x8.shr_s(i16x8.shl(w0, 8), 8));
        v128.store(to, i16x8.shr_s(i16x8.shl(w1, 8), 8), 16);
        v128.store(to, i16x8.shr_s(w0, 8), 32);
        v128.store(to, i16x8.shr_s(w1, 8), 48);
      }
      continue;
    }
    for (let s: usize = 0; s < 128; s += 16, to += 64) {
      const w = v128.load(panel + s);
      v128.store(to, i16x8.sub(v128.and(w, v128.load(MASKS, 32)), offset));
      v128.store(to, i16x8.sub(v128.and(i16x8.shr_u(w, 4), v128.load(MASKS, 32)), offset), 16);
      v128.store(to, i16x8.sub(v128.and(i16x8.shr_u(w, 8), v128.load(MASKS, 32)), offset), 32);
      v128.store(to, i16x8.sub(i16x8.shr_u(w, 12), offset), 48);
    }
  }
}

/**
 * Scales and minima of a panel, true values: d [K/32][8], m [K/32][8] so that weight = d · code + m for the codes of
 * unpackNibbles.
 */
function unpackScales(type: i32, panel: usize, k: i32, shift: i32, d: usize, m: usize): void {
  const factor = f32x4.splat(unshift(shift)), minus = f32x4.splat(-8);
  for (let b = k >> 5; b > 0; b--, panel += blockBytes(type), d += 32, m += 32) {
    const from = panel + codeBytes(type);
    const d0 = f32x4.mul(halves(from), factor), d1 = f32x4.mul(halves(from + 8), factor);
    v128.store(d, d0);
    v128.store(d, d1, 16);
    if (hasMinima(type)) {
      v128.store(m, f32x4.mul(halves(from + 16), factor));
      v128.store(m, f32x4.mul(halves(from + 24), factor), 16);
    } else {
      v128.store(m, f32x4.mul(d0, minus));
      v128.store(m, f32x4.mul(d1, minus), 16);
    }
  }
}

/**
 * Weights of the channels apart, without their minima: to [apartBlocks][8] = d · code. places: [K/32] i32, where the codes of a
 * block's channel begin, or -1 (quantise.ts); w: unpackNibbles; d: from integerScales.
 */
function gatherApart(blocks: i32, places: usize, w: usize, d: usize, to: usize): void {
  const mask = v128.load(MASKS, 64);
  for (; blocks > 0; blocks--, places += 4, w += 256, d += 32) {
    const place = load<i32>(places);
    if (place < 0) continue;
    // the lowest byte of each word is the code, the others are its neighbours
    const at = w + <usize>place;
    const d0 = f32x4.convert_i32x4_s(i32x4.shr_s(v128.load(d), 16));
    const d1 = f32x4.convert_i32x4_s(i32x4.shr_s(v128.load(d, 16), 16));
    v128.store(to, f32x4.mul(f32x4.convert_i32x4_s(v128.and(v128.load(at), mask)), d0));
    v128.store(to, f32x4.mul(f32x4.convert_i32x4_s(v128.and(v128.load(at, 16), mask)), d1), 16);
    to += 32;
  }
}

/**
 * Scales for the relaxed dots: d [K/32][8] f32 become integers [K/32][8][2] i16, each twice, in units of units [8], which the
 * minima m [K/32][8] are then given in as well.
 */
function integerScales(blocks: i32, d: usize, m: usize, units: usize): void {
  const positive = v128.load(MASKS, 80), most = f32x4.splat(32767), one = f32x4.splat(1);
  let large0 = f32x4.splat(0), large1 = large0;
  const end = d + (<usize>blocks << 5);
  for (let p = d; p < end; p += 32) {
    large0 = f32x4.pmax(large0, v128.and(v128.load(p), positive));
    large1 = f32x4.pmax(large1, v128.and(v128.load(p, 16), positive));
  }
  // a column whose scales are all 0 keeps its minima as they are
  const none0 = f32x4.eq(large0, f32x4.splat(0)), none1 = f32x4.eq(large1, f32x4.splat(0));
  const unit0 = v128.bitselect(one, f32x4.div(large0, most), none0), unit1 = v128.bitselect(one, f32x4.div(large1, most), none1);
  const inverse0 = f32x4.div(one, unit0), inverse1 = f32x4.div(one, unit1);
  v128.store(units, unit0);
  v128.store(units, unit1, 16);
  const magic = v128.load32_splat(EXP, 12); // rounds, as in exp4
  for (let p = d; p < end; p += 32, m += 32) {
    const i0 = i32x4.sub(f32x4.add(f32x4.mul(v128.load(p), inverse0), magic), magic);
    const i1 = i32x4.sub(f32x4.add(f32x4.mul(v128.load(p, 16), inverse1), magic), magic);
    const both = i16x8.narrow_i32x4_s(i0, i1);
    v128.store(p, v128.shuffle<i16>(both, both, 0, 0, 1, 1, 2, 2, 3, 3));
    v128.store(p, v128.shuffle<i16>(both, both, 4, 4, 5, 5, 6, 6, 7, 7), 16);
    v128.store(m, f32x4.mul(v128.load(m), inverse0));
    v128.store(m, f32x4.mul(v128.load(m, 16), inverse1), 16);
  }
}

/** Bytes of scratch for linearInt8: codes (16 bits at most), scales, minima and channels apart, one tile, units of its columns. */
export function linearInt8Scratch(k: i32): usize {
  return (<usize>k << 4) + <usize>k * 3 + 160 + 32 + 64;
}

/**
 * With quantised activations (codes, scales, sums, places from quantiseTiles, wide if dot is Dot.Wide, as it must be for codes of 8 bits).
 * y: rows yStride bytes apart.
 */
export function linearInt8(
  dot: i32, m: i32, k: i32, n: i32, codes: usize, scales: usize, sums: usize, places: usize, type: i32, panels: usize,
  shift: i32, first: i32, last: i32, y: usize, yStride: usize, scratch: usize,
): void {
  const wide = dot == Dot.Wide, shifted = hasMinima(type) || !wide;
  const bytes = panelBytes(type, k), blocks = k >> 5, mr = tileRows(dot);
  const tileBytes = <usize>(k * mr) << (wide ? 1 : 0), scaleBytes = <usize>(blocks * mr) << 2;
  const kc = wide ? blocks : blocks + apartBlocks(k), sumBytes = <usize>(kc * mr) << 2;
  // d [K/32][8], then minima and, behind them, the weights of the channels apart: both meet `sums` in one product
  const w = scratch, d = w + (<usize>k << 4), minima = d + <usize>k, tile = minima + 2 * <usize>k, units = tile + 160;
  v128.store(units, f32x4.splat(1));
  v128.store(units, f32x4.splat(1), 16);
  for (let p = first; p < last; p++) {
    const panel = panels + bytes * <usize>p, cols = min(8, n - (p << 3));
    if (wide) unpackWide(type, panel, k, w);
    else unpackNibbles(type, panel, k, w);
    unpackScales(type, panel, k, shift, d, minima);
    if (!wide) integerScales(blocks, d, minima, units);
    for (let ic = 0; ic < m; ic += GROUP) {
      const mc = min(GROUP, m - ic), at = places + (<usize>((ic / GROUP) * blocks) << 2);
      if (!wide) gatherApart(blocks, at, w, d, minima + <usize>k);
      for (let i = 0; i < mc; i += mr) {
        const t = <usize>((ic + i) / mr), a = codes + t * tileBytes, s = scales + t * scaleBytes, sum = sums + t * sumBytes;
        if (!shifted) memory.fill(tile, 0, 128);
        else if (!ASC_FEATURE_RELAXED_SIMD) micro4x8Unfused(kc, sum, minima, tile, 32, 0);
        else if (mr == 5) micro5x8Fused(kc, sum, minima, tile, 32, 0);
        else micro4x8Fused(kc, sum, minima, tile, 32, 0);
        if (wide) tileWide(blocks, a, w, s, d, tile);
        else if (dot == Dot.Relaxed16) tileRelaxed16(blocks, a, w, s, d, tile);
        else tileRelaxed32(blocks, a, w, s, d, tile);
        storeTile(tile, units, min(mr, mc - i), cols, y + <usize>(ic + i) * yStride + (<usize>p << 5), yStride);
      }
    }
  }
}

/** y [rows][cols] = tile [rows][8] · units [8]. */
// @ts-ignore: decorator
@inline
function storeTile(tile: usize, units: usize, rows: i32, cols: i32, y: usize, yStride: usize): void {
  const unit0 = v128.load(units), unit1 = v128.load(units, 16);
  for (let r = 0; r < rows; r++, tile += 32, y += yStride) {
    if (cols == 8) {
      v128.store(y, f32x4.mul(v128.load(tile), unit0));
      v128.store(y, f32x4.mul(v128.load(tile, 16), unit1), 16);
    } else for (let c: usize = 0; c < <usize>cols; c++) store<f32>(y + (c << 2), load<f32>(tile + (c << 2)) * load<f32>(units + (c << 2)));
  }
}
