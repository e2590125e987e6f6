/**
 * Normal numbers by counter, added to what is already there. Philox4x32-10 (Salmon et al. 2011) in integers, then the transform of
 * Box and Muller (1958) in f32 with polynomials of our own: products and sums are never fused, so that every engine and every
 * build gives the same bits.
 */
import { floatToHalf } from './panel';

/**
 * Constants in memory, as in math.ts. 0, 1, 2, 3; Philox's two multipliers; 2^-31, 2^-32; for the logarithm: sqrt(1/2), the
 * mask of a fraction, -, 1, the nine coefficients and ln 2 in two parts of Cephes' logf (S. Moshier); -2; half a quarter turn in words
 * (2^29), pi/2 · 2^-32, the coefficients of Cephes' sinf and cosf, 0.5, the sign; Philox's two increments of the key.
 */
const NOISE: usize = memory.data<u32>([
  0, 1, 2, 3, 0xd2511f53, 0xcd9e8d57, 0x30000000, 0x2f800000,
  0x3f3504f3, 0x007fffff, 0, 0x3f800000,
  0x3d9021bb, 0xbdebd1b8, 0x3def251a, 0xbdfe5d4f, 0x3e11e9bf, 0xbe2aae50, 0x3e4cceac, 0xbe7ffffc, 0x3eaaaaaa,
  0xb95e8083, 0x3f318000, 0xc0000000,
  0x20000000, 0x2fc90fdb, 0xb94ca1f9, 0x3c08839e, 0xbe2aaaa3, 0x37ccf5ce, 0xbab6061a, 0x3d2aaaa5, 0x3f000000, 0x80000000,
  0x9e3779b9, 0xbb67ae85,
]);

/** ln u for u in (0, 1], to 1e-7 relative. */
// @ts-ignore: decorator
@inline
function log4(u: v128): v128 {
  // u = 2^e (1 + r) with 1 + r between sqrt(1/2) and sqrt(2)
  const shifted = i32x4.sub(u, v128.load32_splat(NOISE, 32));
  const e = f32x4.convert_i32x4_s(i32x4.shr_s(shifted, 23));
  const m = i32x4.add(v128.and(shifted, v128.load32_splat(NOISE, 36)), v128.load32_splat(NOISE, 32));
  const r = f32x4.sub(m, v128.load32_splat(NOISE, 44)), z = f32x4.mul(r, r);
  let p = v128.load32_splat(NOISE, 48);
  p = f32x4.add(f32x4.mul(p, r), v128.load32_splat(NOISE, 52));
  p = f32x4.add(f32x4.mul(p, r), v128.load32_splat(NOISE, 56));
  p = f32x4.add(f32x4.mul(p, r), v128.load32_splat(NOISE, 60));
  p = f32x4.add(f32x4.mul(p, r), v128.load32_splat(NOISE, 64));
  p = f32x4.add(f32x4.mul(p, r), v128.load32_splat(NOISE, 68));
  p = f32x4.add(f32x4.mul(p, r), v128.load32_splat(NOISE, 72));
  p = f32x4.add(f32x4.mul(p, r), v128.load32_splat(NOISE, 76));
  p = f32x4.add(f32x4.mul(p, r), v128.load32_splat(NOISE, 80));
  p = f32x4.mul(f32x4.mul(p, r), z);
  p = f32x4.add(p, f32x4.mul(e, v128.load32_splat(NOISE, 84)));
  p = f32x4.sub(p, f32x4.mul(z, v128.load32_splat(NOISE, 128)));
  return f32x4.add(f32x4.add(r, p), f32x4.mul(e, v128.load32_splat(NOISE, 88)));
}

/** sqrt(-2 ln u), u = (the upper 31 bits + 1/2) / 2^31 in f32: in (0, 1]. */
// @ts-ignore: decorator
@inline
function radius4(w: v128): v128 {
  const x = f32x4.convert_i32x4_s(i32x4.shr_u(w, 1));
  const u = f32x4.add(f32x4.mul(x, v128.load32_splat(NOISE, 24)), v128.load32_splat(NOISE, 28));
  return f32x4.sqrt(f32x4.mul(v128.load32_splat(NOISE, 92), log4(u)));
}

/** A word as a part of a full turn, less the nearest quarter: in radians, -pi/4 to pi/4. */
// @ts-ignore: decorator
@inline
function angle4(w: v128): v128 {
  return f32x4.mul(f32x4.convert_i32x4_s(i32x4.shl(w, 2)), v128.load32_splat(NOISE, 100));
}

// @ts-ignore: decorator
@inline
function sin4(y: v128, z: v128): v128 {
  let p = f32x4.mul(v128.load32_splat(NOISE, 104), z);
  p = f32x4.mul(f32x4.add(p, v128.load32_splat(NOISE, 108)), z);
  p = f32x4.mul(f32x4.add(p, v128.load32_splat(NOISE, 112)), z);
  return f32x4.add(f32x4.mul(p, y), y);
}

// @ts-ignore: decorator
@inline
function cos4(z: v128): v128 {
  let p = f32x4.mul(v128.load32_splat(NOISE, 116), z);
  p = f32x4.mul(f32x4.add(p, v128.load32_splat(NOISE, 120)), z);
  p = f32x4.mul(f32x4.add(p, v128.load32_splat(NOISE, 124)), z);
  p = f32x4.sub(f32x4.mul(p, z), f32x4.mul(v128.load32_splat(NOISE, 128), z));
  return f32x4.add(p, v128.load32_splat(NOISE, 44));
}

/** anchor + (scale · from + value) for four numbers. */
// @ts-ignore: decorator
@inline
function mixed(i: i32, value: v128, anchor: usize, from: usize, scale: f32): v128 {
  if (from) value = f32x4.add(f32x4.mul(f32x4.splat(scale), v128.load(from + (<usize>i << 2))), value);
  if (anchor) value = f32x4.add(v128.load(anchor + (<usize>i << 2)), value);
  return value;
}

/** Four f32 as bits of bf16 in words, rounded to nearest even. */
// @ts-ignore: decorator
@inline
function bfloat4(x: v128): v128 {
  const odd = v128.and(i32x4.shr_u(x, 16), i32x4.splat(1));
  const rounded = i32x4.shr_u(i32x4.add(i32x4.add(x, i32x4.splat(0x7fff)), odd), 16);
  // NaN keeps a quiet bit
  const nan = v128.or(i32x4.shr_u(x, 16), i32x4.splat(0x40));
  return v128.bitselect(rounded, nan, f32x4.eq(x, x));
}

/** Four f32 as bits of f16 in words, as `floatToHalf`. */
// @ts-ignore: decorator
@inline
function half4(x: v128): v128 {
  const a = v128.and(x, i32x4.splat(0x7fffffff)), sign = v128.and(i32x4.shr_u(x, 16), i32x4.splat(0x8000));
  const odd = v128.and(i32x4.shr_u(a, 13), i32x4.splat(1));
  let bits = i32x4.shr_u(i32x4.add(i32x4.add(a, odd), i32x4.splat(0xfff - 0x38000000)), 13);
  // denormal: the addition of 0.5 rounds
  const small = i32x4.sub(f32x4.add(a, f32x4.splat(0.5)), i32x4.splat(0x3f000000));
  bits = v128.bitselect(small, bits, i32x4.lt_s(a, i32x4.splat(0x38800000)));
  bits = v128.bitselect(i32x4.splat(0x7c00), bits, i32x4.ge_s(a, i32x4.splat(0x477ff000)));
  bits = v128.bitselect(i32x4.splat(0x7e00), bits, i32x4.gt_s(a, i32x4.splat(0x7f800000)));
  return v128.or(sign, bits);
}

function one(i: i32, value: f32, to: usize, type: i32, anchor: usize, from: usize, scale: f32): void {
  if (from) value = scale * load<f32>(from + (<usize>i << 2)) + value;
  if (anchor) value = load<f32>(anchor + (<usize>i << 2)) + value;
  if (type == 0) store<f32>(to + (<usize>i << 2), value);
  else if (type == 1) store<u16>(to + (<usize>i << 1), floatToHalf(value));
  else store<u16>(to + (<usize>i << 1), i32x4.extract_lane(bfloat4(f32x4.splat(value)), 0));
}

/** Numbers i .. i + 3 of the call; those outside 0 .. n - 1 are left out. */
// @ts-ignore: decorator
@inline
function four(i: i32, n: i32, value: v128, to: usize, type: i32, anchor: usize, from: usize, scale: f32): void {
  if (i >= 0 && i + 4 <= n) {
    const v = mixed(i, value, anchor, from, scale);
    if (type == 0) v128.store(to + (<usize>i << 2), v);
    else {
      const bits = type == 1 ? half4(v) : bfloat4(v);
      v128.store64_lane(to + (<usize>i << 1), i16x8.narrow_i32x4_u(bits, bits), 0);
    }
    return;
  }
  if (i >= 0 && i < n) one(i, f32x4.extract_lane(value, 0), to, type, anchor, from, scale);
  if (i + 1 >= 0 && i + 1 < n) one(i + 1, f32x4.extract_lane(value, 1), to, type, anchor, from, scale);
  if (i + 2 >= 0 && i + 2 < n) one(i + 2, f32x4.extract_lane(value, 2), to, type, anchor, from, scale);
  if (i + 3 >= 0 && i + 3 < n) one(i + 3, f32x4.extract_lane(value, 3), to, type, anchor, from, scale);
}

// @ts-ignore: decorator
@inline
function upper(a: v128, b: v128): v128 {
  return v128.shuffle<i32>(a, b, 1, 3, 5, 7);
}

// @ts-ignore: decorator
@inline
function lower(a: v128, b: v128): v128 {
  return v128.shuffle<i32>(a, b, 0, 2, 4, 6);
}

/**
 * Philox of 8 `sets` of counters from `block` on: [sets][2][4 words][4 blocks] u32. Two groups of four blocks a turn, because one alone
 * leaves the processor waiting for its own products.
 */
function philox(sets: i32, block: u64, key: u64, stream0: i32, stream1: i32, to: usize): void {
  const places = v128.load(NOISE);
  for (; sets > 0; sets--, block += 8, to += 128) {
    const low = i32x4.splat(<i32>block), low2 = i32x4.splat(<i32>(block + 4));
    let c0 = i32x4.add(low, places), c2 = i32x4.splat(stream0), c3 = i32x4.splat(stream1);
    let c1 = i32x4.sub(i32x4.splat(<i32>(block >> 32)), i32x4.lt_u(c0, low));
    let d0 = i32x4.add(low2, places), d2 = c2, d3 = c3;
    let d1 = i32x4.sub(i32x4.splat(<i32>((block + 4) >> 32)), i32x4.lt_u(d0, low2));
    let k0 = i32x4.splat(<i32>key), k1 = i32x4.splat(<i32>(key >> 32));
    for (let round = 0; round < 10; round++) {
      const m0 = v128.load32_splat(NOISE, 16), m1 = v128.load32_splat(NOISE, 20);
      let a = i64x2.extmul_low_i32x4_u(c0, m0), b = i64x2.extmul_high_i32x4_u(c0, m0);
      let x = i64x2.extmul_low_i32x4_u(c2, m1), y = i64x2.extmul_high_i32x4_u(c2, m1);
      c0 = v128.xor(v128.xor(upper(x, y), c1), k0);
      c2 = v128.xor(v128.xor(upper(a, b), c3), k1);
      c1 = lower(x, y);
      c3 = lower(a, b);
      a = i64x2.extmul_low_i32x4_u(d0, m0); b = i64x2.extmul_high_i32x4_u(d0, m0);
      x = i64x2.extmul_low_i32x4_u(d2, m1); y = i64x2.extmul_high_i32x4_u(d2, m1);
      d0 = v128.xor(v128.xor(upper(x, y), d1), k0);
      d2 = v128.xor(v128.xor(upper(a, b), d3), k1);
      d1 = lower(x, y);
      d3 = lower(a, b);
      k0 = i32x4.add(k0, v128.load32_splat(NOISE, 136));
      k1 = i32x4.add(k1, v128.load32_splat(NOISE, 140));
    }
    v128.store(to, c0); v128.store(to, c1, 16); v128.store(to, c2, 32); v128.store(to, c3, 48);
    v128.store(to, d0, 64); v128.store(to, d1, 80); v128.store(to, d2, 96); v128.store(to, d3, 112);
  }
}

/** Numbers whose words are drawn at a time: they stay in level 1. */
const CHUNK: i32 = 512;

/** Bytes of scratch that `perturb` needs: the words of a chunk. */
export function perturbScratch(): usize {
  return <usize>CHUNK << 2;
}

/**
 * to[i] = anchor[i] + (scale · from[i] + std · normal(first + i)), i < n, rounded to f32 at each step and once to the type: 0 f32, 1 f16, 2 bf16
 * (panel.ts). from, anchor: f32, or 0. std 0 draws nothing.
 *
 * Number p of a seed and a stream comes from the Philox block with counter (p / 4 low, p / 4 high, stream0, stream1) and key
 * (seed low, seed high): words 0 and 1 are radius and angle of numbers 0 and 1, words 2 and 3 of numbers 2 and 3, cosine first.
 * seed and first: integers up to 2^53. scratch: `perturbScratch` bytes.
 */
export function perturb(
  n: i32, to: usize, type: i32, anchor: usize, from: usize, scale: f32, std: f32,
  seed: f64, stream0: i32, stream1: i32, first: f64, scratch: usize,
): void {
  if (std == 0) {
    // x + -0 is x for both zeros
    const nothing = f32x4.splat(from || anchor ? -0.0 : 0.0);
    for (let i = 0; i < n; i += 4) four(i, n, nothing, to, type, anchor, from, scale);
    return;
  }
  const key = <u64>seed, start = <u64>first;
  let block = start >> 2;
  for (let i = -<i32>(start & 3); i < n; i += CHUNK, block += CHUNK / 4) {
    const end = min(n, i + CHUNK);
    const sets = (end - i + 31) / 32;
    philox(sets, block, key, stream0, stream1, scratch);
    radii(sets, std, scratch);
    turn(i, end, n, scratch, to, type, anchor, from, scale);
  }
}

/** Words 0 and 2 of each block become std · sqrt(-2 ln u). Loops apart, and short, so that several turns are under way at once. */
function radii(sets: i32, std: f32, words: usize): void {
  for (const end = words + (<usize>sets << 7); words < end; words += 32) {
    v128.store(words, f32x4.mul(f32x4.splat(std), radius4(v128.load(words))));
  }
}

/** A pair of numbers for each of four blocks, from radius and angle in `words`. */
// @ts-ignore: decorator
@inline
function cosine(r: v128, s: v128, c: v128, q: v128): v128 {
  const odd = i32x4.shl(q, 1);
  const value = v128.bitselect(s, c, i32x4.shr_s(odd, 31));
  return f32x4.mul(r, v128.xor(value, v128.and(v128.xor(q, odd), v128.load32_splat(NOISE, 132))));
}

// @ts-ignore: decorator
@inline
function sine(r: v128, s: v128, c: v128, q: v128): v128 {
  const value = v128.bitselect(c, s, i32x4.shr_s(i32x4.shl(q, 1), 31));
  return f32x4.mul(r, v128.xor(value, v128.and(q, v128.load32_splat(NOISE, 132))));
}

/** Numbers i .. end - 1 of a chunk that begins at i, from radii and angles. */
function turn(
  i: i32, end: i32, n: i32, words: usize, to: usize, type: i32, anchor: usize, from: usize, scale: f32,
): void {
  for (; i < end; i += 16, words += 64) {
    const half = v128.load32_splat(NOISE, 96);
    let r = v128.load(words), w = v128.load(words, 16);
    let y = angle4(w), z = f32x4.mul(y, y), q = i32x4.add(w, half), s = sin4(y, z), c = cos4(z);
    const n0 = cosine(r, s, c, q), n1 = sine(r, s, c, q);
    r = v128.load(words, 32);
    w = v128.load(words, 48);
    y = angle4(w);
    z = f32x4.mul(y, y);
    q = i32x4.add(w, half);
    s = sin4(y, z);
    c = cos4(z);
    const n2 = cosine(r, s, c, q), n3 = sine(r, s, c, q);
    // by block instead of by number
    const u0 = v128.shuffle<f32>(n0, n1, 0, 4, 1, 5), u1 = v128.shuffle<f32>(n0, n1, 2, 6, 3, 7);
    const v0 = v128.shuffle<f32>(n2, n3, 0, 4, 1, 5), v1 = v128.shuffle<f32>(n2, n3, 2, 6, 3, 7);
    four(i, n, v128.shuffle<f32>(u0, v0, 0, 1, 4, 5), to, type, anchor, from, scale);
    four(i + 4, n, v128.shuffle<f32>(u0, v0, 2, 3, 6, 7), to, type, anchor, from, scale);
    four(i + 8, n, v128.shuffle<f32>(u1, v1, 0, 1, 4, 5), to, type, anchor, from, scale);
    four(i + 12, n, v128.shuffle<f32>(u1, v1, 2, 3, 6, 7), to, type, anchor, from, scale);
  }
}
