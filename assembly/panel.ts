/**
 * Weight panels: the one layout that decode, prefill, the exact path and the embedding lookup share.
 *
 * A linear layer W[N, K] is cut into panels of 8 outputs (rows of W, columns of the product). By type, for one panel:
 *   f32         [K][8] f32
 *   bf16, f16   [K][8] u16
 *   q4_0        [K/32] blocks of: codes [8 steps][16 bytes], scales [8] f16
 *   q4_1        [K/32] blocks of: codes [8 steps][16 bytes], scales [8] f16, minima [8] f16
 *   q8_0        [K/32] blocks of: codes [8 steps][8 columns][4] i8, scales [8] f16
 *   q8_1        [K/32] blocks of: codes [8 steps][8 columns][4] i8, scales [8] f16, minima [8] f16
 * A 16-byte step of 4-bit codes holds 4 k of 8 columns: byte c·4 + j is column c of k = 4·step + j in its low half and
 * column c + 4 in its high half. A panel has exactly the bytes of its rows in the file. Codes and scales alternate because
 * decoding then reads one sequential stream: with the scales of a panel behind its codes, memory gave half as much.
 *
 * All f16 scales of a matrix are multiplied by one power of two, 2^shift, chosen at load so that the largest stands near the
 * top of f16's range. That is exact, turns denormal scales into normal ones (denormal operands cost a factor of four on
 * some processors), and the inverse is applied once to each result.
 */

import { add } from './activation';
import { MASKS } from './math';
import { packFour } from './pack';

export const enum Type {
  F32 = 0,
  F16 = 1,
  BF16 = 2,
  Q4_0 = 3,
  Q4_1 = 4,
  Q8_0 = 5,
  /** No file has it: what 5-bit codes with minima become (src/checkpoint/quantised/repack.ts). */
  Q8_1 = 6,
}

/** Whether blocks have minima beside their scales. */
// @ts-ignore: decorator
@inline
export function hasMinima(type: i32): bool {
  return type == Type.Q4_1 || type == Type.Q8_1;
}
/** Whether codes take a byte each. */
// @ts-ignore: decorator
@inline
export function isQ8(type: i32): bool {
  return type >= Type.Q8_0;
}

/** Bytes of one panel of 8 rows with K elements each. */
export function panelBytes(type: i32, k: i32): usize {
  const n = <usize>k;
  if (type == Type.F32) return n << 5;
  if (type == Type.F16 || type == Type.BF16) return n << 4;
  if (type == Type.Q4_0) return (n << 2) + (n >> 1);
  if (type == Type.Q4_1) return (n << 2) + n;
  if (type == Type.Q8_1) return (n << 3) + n;
  return (n << 3) + (n >> 1);
}

/** Bytes of one row as files store it. */
// @ts-ignore: decorator
@inline
function rowBytes(type: i32, k: i32): usize {
  return panelBytes(type, k) >> 3;
}

/** f16 bits to f32, exact, any value. */
export function halfToFloat(h: u32): f32 {
  const sign = (h & 0x8000) << 16, e = (h >> 10) & 31, m = h & 0x3ff;
  if (e == 31) return reinterpret<f32>(sign | 0x7f800000 | (m << 13));
  if (e == 0) return reinterpret<f32>(sign | reinterpret<u32>(<f32>m * 5.9604644775390625e-8)); // m · 2^-24
  return reinterpret<f32>(sign | ((e + 112) << 23) | (m << 13));
}

/** f32 to f16 bits, round to nearest even, overflow to infinity. */
export function floatToHalf(f: f32): u32 {
  const x = reinterpret<u32>(f), sign = (x >> 16) & 0x8000, a = x & 0x7fffffff;
  if (a > 0x7f800000) return sign | 0x7e00;
  if (a >= 0x477ff000) return sign | 0x7c00;
  if (a < 0x38800000) {
    // denormal: adding 0.5 puts the last bit of f16 at the last bit of the sum, so the addition itself rounds
    return sign | (reinterpret<u32>(reinterpret<f32>(a) + 0.5) - 0x3f000000);
  }
  return sign | ((a + 0xfff + ((a >> 13) & 1) - 0x38000000) >> 13);
}

/** f32 bits to bf16 bits, round to nearest even; NaN keeps a quiet bit. */
// @ts-ignore: decorator
@inline
export function floatToBfloat(x: u32): u32 {
  return (x & 0x7fffffff) > 0x7f800000 ? (x >> 16) | 0x40 : (x + 0x7fff + ((x >> 16) & 1)) >> 16;
}

/**
 * Packs `rows` (1 to 8) stored rows into one panel; missing rows become zero. from: rows as the file has them; row r stands at
 * from + order[r] · row bytes, where order points to 8 u32 (a row permutation), or 0 for the natural order.
 */
function packPanel(type: i32, from: usize, order: usize, rows: i32, k: i32, to: usize): void {
  const stride = rowBytes(type, k);
  if (rows < 8) memory.fill(to, 0, panelBytes(type, k));
  for (let r = 0; r < rows; r++) {
    const row = from + stride * (order ? <usize>load<u32>(order + (<usize>r << 2)) : <usize>r);
    if (type == Type.F32) {
      let out = to + (<usize>r << 2);
      for (let i: usize = 0; i < <usize>k; i++, out += 32) store<u32>(out, load<u32>(row + (i << 2)));
    } else if (type == Type.F16 || type == Type.BF16) {
      let out = to + (<usize>r << 1);
      for (let i: usize = 0; i < <usize>k; i++, out += 16) store<u16>(out, load<u16>(row + (i << 1)));
    } else if (isQ8(type)) packQ8(row, r, k, to, i32(type == Type.Q8_1));
    else packQ4(row, r, k, to, i32(type == Type.Q4_1));
  }
}

/**
 * Panels first..last-1 of `rows` stored rows, and the largest exponent in each, to most[panel]. order: as of packPanel, 8 u32 a panel, or 0. Sources of
 * type `type` from `from` on; panel p goes to `to` + p · panel bytes.
 */
export function packPanels(
  type: i32, first: i32, last: i32, rows: i32, k: i32, from: usize, order: usize, most: usize, to: usize,
): void {
  const stride = rowBytes(type, k) << 3, bytes = panelBytes(type, k);
  for (let p = first; p < last; p++) {
    const panel = to + bytes * <usize>p, at = <usize>p;
    packPanel(type, order ? from : from + stride * at, order ? order + (at << 5) : 0, min(8, rows - (p << 3)), k, panel);
    store<i32>(most + (at << 2), largestExponent(type, panel, 1, k));
  }
}

/** Packs f32 rows [n, k] into the panels first..last-1 of f32, bf16 or f16, rounding to nearest even. */
export function packFloats(type: i32, first: i32, last: i32, n: i32, k: i32, from: usize, to: usize): void {
  const stride = <usize>k << 2, bytes = panelBytes(type, k);
  for (let p = first; p < last; p++) {
    const rows = min(8, n - (p << 3)), row = from + stride * (<usize>p << 3), panel = to + bytes * <usize>p;
    if (type == Type.F32) {
      if (rows < 8) packPanel(type, row, 0, rows, k, panel);
      else {
        packFour(row, stride, k, 1, panel, 32);
        packFour(row + 4 * stride, stride, k, 1, panel + 16, 32);
      }
      continue;
    }
    // rows that are missing stay the zeros that they are
    for (let r: usize = 0; r < <usize>rows; r++) {
      let out = panel + (r << 1), x = row + r * stride;
      for (let i = k; i > 0; i--, x += 4, out += 16) {
        store<u16>(out, type == Type.BF16 ? floatToBfloat(load<u32>(x)) : floatToHalf(load<f32>(x)));
      }
    }
  }
}

/** Bytes of the codes of a block of 32 x 8, and of a whole block. */
// @ts-ignore: decorator
@inline
export function codeBytes(type: i32): usize {
  return isQ8(type) ? 256 : 128;
}
// @ts-ignore: decorator
@inline
export function blockBytes(type: i32): usize {
  return codeBytes(type) + (hasMinima(type) ? 32 : 16);
}

/** A block of 8-bit codes: f16 scale, f16 minimum if q8_1, 32 codes. */
function packQ8(row: usize, r: i32, k: i32, to: usize, minima: i32): void {
  for (let b = k >> 5; b > 0; b--) {
    store<u16>(to + (<usize>r << 1), load<u16>(row), 256);
    if (minima) store<u16>(to + (<usize>r << 1), load<u16>(row, 2), 272);
    const codes = to + (<usize>r << 2), q = row + 2 + (<usize>minima << 1);
    for (let s: usize = 0; s < 8; s++) store<u32>(codes + (s << 5), load<u32>(q + (s << 2)));
    to += minima ? 288 : 272;
    row += minima ? 36 : 34;
  }
}

/** A file's Q4 block: f16 scale, f16 minimum if q4_1, 16 bytes of which byte j holds elements j (low) and j + 16 (high). */
function packQ4(row: usize, r: i32, k: i32, to: usize, minima: i32): void {
  const high: u32 = r >= 4 ? 4 : 0;
  for (let b = k >> 5; b > 0; b--) {
    store<u16>(to + (<usize>r << 1), load<u16>(row), 128);
    if (minima) store<u16>(to + (<usize>r << 1), load<u16>(row, 2), 144);
    const q = row + 2 + (<usize>minima << 1), codes = to + (<usize>(r & 3) << 2);
    for (let s: usize = 0; s < 4; s++) {
      const v = load<u32>(q + (s << 2)), first = codes + (s << 4), second = first + 64;
      const a = (v & 0x0f0f0f0f) << high, z = ((v >> 4) & 0x0f0f0f0f) << high;
      store<u32>(first, high ? load<u32>(first) | a : a);
      store<u32>(second, high ? load<u32>(second) | z : z);
    }
    to += minima ? 160 : 144;
    row += minima ? 20 : 18;
  }
}

/**
 * Largest exponent field among the numbers (scales, for quantised types) of `count` panels, and 255 (f32, bf16) or 31 (f16,
 * quantised) if one of them is infinite or not a number.
 */
function largestExponent(type: i32, panels: usize, count: i32, k: i32): i32 {
  let most: u32 = 0;
  if (type == Type.F32) {
    const end = panels + panelBytes(type, k) * <usize>count;
    let m = i32x4.splat(0);
    for (let p = panels; p < end; p += 16) m = i32x4.max_u(m, v128.and(v128.load(p), i32x4.splat(0x7f800000)));
    most = max(max(i32x4.extract_lane(m, 0), i32x4.extract_lane(m, 1)), max(i32x4.extract_lane(m, 2), i32x4.extract_lane(m, 3)));
    return most >> 23;
  }
  const mask: i32 = type == Type.BF16 ? 0x7f80 : 0x7c00;
  const whole = type == Type.F16 || type == Type.BF16, end = panels + panelBytes(type, k) * <usize>count;
  const skip: usize = whole ? 0 : codeBytes(type), step: usize = whole ? 16 : blockBytes(type) - skip;
  let m = i16x8.splat(0);
  for (let p = panels; p < end; ) {
    p += skip;
    for (const to = p + step; p < to; p += 16) m = i16x8.max_u(m, v128.and(v128.load(p), i16x8.splat(<i16>mask)));
  }
  for (let s = 0; s < 8; s++) {
    most = max<u32>(most, i16x8.extract_lane_u(m, 0));
    m = v128.shuffle<i16>(m, m, 1, 2, 3, 4, 5, 6, 7, 0);
  }
  return type == Type.BF16 ? most >> 7 : most >> 10;
}

/** Multiplies every f16 scale of the quantised panels first..last-1 by 2^shift. The caller knows that none overflows. */
export function shiftScales(type: i32, first: i32, last: i32, panels: usize, k: i32, shift: i32): void {
  const factor = reinterpret<f32>((shift + 127) << 23), bytes = panelBytes(type, k), end = panels + bytes * <usize>last;
  for (let p = panels + bytes * <usize>first; p < end; ) {
    p += codeBytes(type);
    for (let n = hasMinima(type) ? 16 : 8; n > 0; n--, p += 2) {
      store<u16>(p, floatToHalf(halfToFloat(load<u16>(p)) * factor));
    }
  }
}

/** Four f16 (normal or zero) at p, as f32 times 2^-112. */
// @ts-ignore: decorator
@inline
export function halves(p: usize): v128 {
  return v128.and(i32x4.shl(v128.load16x4_s(p), 13), v128.load(MASKS, 16));
}

/** 2^(112 - shift): what turns `halves` into true values. */
// @ts-ignore: decorator
@inline
export function unshift(shift: i32): f32 {
  return <f32>reinterpret<f64>((<u64>(1023 + 112 - shift)) << 52);
}

/** Bytes [c0 k0..3, c1 k0..3, …] to [k0 c0..3, k1 c0..3, …]. */
// @ts-ignore: decorator
@inline
function transposeBytes(v: v128): v128 {
  return i8x16.shuffle(v, v, 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
}

// @ts-ignore: decorator
@inline
function storeStep(to: usize, codes: v128, d: v128, m: v128): void {
  // codes: [k0 c0..3, k1 …] as bytes; to: column 0 of k0; rows are 32 bytes apart. Two roundings: as the reference does.
  const lo = i16x8.extend_low_i8x16_s(codes), hi = i16x8.extend_high_i8x16_s(codes);
  v128.store(to, f32x4.add(f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(lo)), d), m));
  v128.store(to, f32x4.add(f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(lo)), d), m), 32);
  v128.store(to, f32x4.add(f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(hi)), d), m), 64);
  v128.store(to, f32x4.add(f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(hi)), d), m), 96);
}

/**
 * Elements k0 .. k0+kc-1 (multiples of 32 for quantised types) of one panel as f32: to [kc][8]. Equal bit for bit to ggml's own
 * dequantisation.
 */
export function unpackPanel(type: i32, panel: usize, k: i32, k0: i32, kc: i32, shift: i32, to: usize): void {
  if (type == Type.F32) {
    memory.copy(to, panel + (<usize>k0 << 5), <usize>kc << 5);
    return;
  }
  if (type == Type.BF16 || type == Type.F16) {
    let from = panel + (<usize>k0 << 4);
    const end = from + (<usize>kc << 4);
    for (; from < end; from += 8, to += 16) v128.store(to, type == Type.BF16 ? bfloats(from) : anyHalves(from));
    return;
  }
  const factor = f32x4.splat(unshift(shift)), zero = f32x4.splat(0);
  let codes = panel + <usize>(k0 >> 5) * blockBytes(type);
  for (let b = kc >> 5; b > 0; b--, codes += blockBytes(type)) {
    const scales = codes + codeBytes(type);
    const d0 = f32x4.mul(halves(scales), factor), d1 = f32x4.mul(halves(scales + 8), factor);
    let m0 = zero, m1 = zero;
    if (hasMinima(type)) {
      m0 = f32x4.mul(halves(scales + 16), factor);
      m1 = f32x4.mul(halves(scales + 24), factor);
    }
    if (isQ8(type)) {
      for (let s: usize = 0; s < 256; s += 32, to += 128) {
        storeStep(to, transposeBytes(v128.load(codes + s)), d0, m0);
        storeStep(to + 16, transposeBytes(v128.load(codes + s, 16)), d1, m1);
      }
      continue;
    }
    const bias = i8x16.splat(type == Type.Q4_0 ? 8 : 0);
    for (let s: usize = 0; s < 128; s += 16, to += 128) {
      const v = transposeBytes(v128.load(codes + s));
      storeStep(to, i8x16.sub(v128.and(v, i8x16.splat(15)), bias), d0, m0);
      storeStep(to + 16, i8x16.sub(i8x16.shr_u(v, 4), bias), d1, m1);
    }
  }
}

/** Four bf16 at p, as f32. */
// @ts-ignore: decorator
@inline
export function bfloats(p: usize): v128 {
  return i32x4.shl(v128.load16x4_u(p), 16);
}

/** Four f16 of any value at p, as f32: the multiplication makes denormals right too. */
// @ts-ignore: decorator
@inline
export function anyHalves(p: usize): v128 {
  return f32x4.mul(halves(p), f32x4.splat(reinterpret<f32>(0x77800000))); // 2^112
}

/** One row of W (an embedding) as f32: to [K]. */
export function gatherRow(type: i32, panels: usize, k: i32, row: i32, shift: i32, to: usize): void {
  const panel = panels + panelBytes(type, k) * <usize>(row >> 3);
  const c = <usize>(row & 7);
  if (type == Type.F32) {
    for (let i: usize = 0; i < <usize>k; i++) store<f32>(to + (i << 2), load<f32>(panel + (i << 5) + (c << 2)));
    return;
  }
  if (type == Type.BF16 || type == Type.F16) {
    for (let i: usize = 0; i < <usize>k; i++) {
      const h = <u32>load<u16>(panel + (i << 4) + (c << 1));
      store<f32>(to + (i << 2), type == Type.BF16 ? reinterpret<f32>(h << 16) : halfToFloat(h));
    }
    return;
  }
  const factor = unshift(shift) * reinterpret<f32>(0x07800000); // 2^(-shift)
  for (let i: usize = 0; i < <usize>k; i++) {
    const codes = panel + (i >> 5) * blockBytes(type), scales = codes + codeBytes(type), step = (i & 31) >> 2, j = i & 3;
    const d = halfToFloat(load<u16>(scales + (c << 1))) * factor;
    const m: f32 = hasMinima(type) ? halfToFloat(load<u16>(scales + (c << 1), 16)) * factor : 0;
    if (isQ8(type)) {
      store<f32>(to + (i << 2), d * <f32>load<i8>(codes + (step << 5) + (c << 2) + j) + m);
      continue;
    }
    const byte = <i32>load<u8>(codes + (step << 4) + ((c & 3) << 2) + j), q = c < 4 ? byte & 15 : byte >> 4;
    store<f32>(to + (i << 2), type == Type.Q4_0 ? d * <f32>(q - 8) : d * <f32>q + m);
  }
}

/**
 * to[ids[t], :] += x[t, :] for the columns first..last-1 of x [tokens, k], in the order of tokens; to [rows, k] f32. An id that is none
 * meets some row, never other memory.
 */
export function scatterAdd(
  first: i32, last: i32, tokens: i32, k: i32, rows: i32, ids: usize, x: usize, to: usize,
): void {
  const stride = <usize>k << 2, from = x + (<usize>first << 2), into = to + (<usize>first << 2);
  for (let t: usize = 0; t < <usize>tokens; t++) {
    const row = min(max(load<i32>(ids + (t << 2)), 0), rows - 1);
    add(last - first, from + t * stride, into + <usize>row * stride);
  }
}
