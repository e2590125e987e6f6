/**
 * Codes of keys and values at rest, a head of a row at a time: whole numbers of 8 or 4 bits times a scale, which is a byte itself.
 *
 * A scale byte b from 1 to 254 is the f32 whose highest twelve bits are b + 871: five bits of an exponent from 2^-18 on and three of a mantissa. 0 is 0.
 * 255 is NaN: of what is no number or too large, so that nobody takes it for something else.
 * 8 bits: code · scale, codes -127 .. 127. 4 bits: (code - 7.5) · scale, codes 0 .. 15, of the head's numbers after a Walsh-Hadamard transform,
 * which spreads channels that tower over the others (as of Ashkboos et al. 2024, arXiv 2404.00456); byte i has number i and, above it, number
 * i + headDim / 2.
 */

/** Of the scale of code 1: the highest bits of 2^-18, less 1. */
const BIAS: u32 = 871;
const WRONG: u32 = 255;
/** Scales below the one that reaches the largest number, of which the one with the least error is taken. */
const TRIED = 7;

// @ts-ignore: decorator
@inline
function scaleOf(b: u32): f32 {
  return b == 0 ? 0 : b == WRONG ? NaN : reinterpret<f32>((b + BIAS) << 20);
}

/** The least scale that is not below x, from 0 on or NaN. */
// @ts-ignore: decorator
@inline
function scaleByte(x: f32): u32 {
  if (x == 0) return 0;
  const b = (reinterpret<u32>(x) + 0xfffff) >> 20;
  return <u32>max<i32>(1, min<i32>(WRONG, <i32>(b - BIAS)));
}

/** NaN where one of them is. */
// @ts-ignore: decorator
@inline
function largest(from: usize, n: i32): f32 {
  let most: f32 = 0;
  for (let i = 0; i < n; i++) most = max(most, abs(load<f32>(from + (<usize>i << 2))));
  return most;
}

/** n numbers to n codes; the scale to `scale`. */
export function storeCodes8(from: usize, n: i32, to: usize, scale: usize): void {
  const b = scaleByte(largest(from, n) / 127);
  store<u8>(scale, <u8>b);
  if (b == 0 || b == WRONG) {
    memory.fill(to, 0, n);
    return;
  }
  const inverse: f32 = <f32>1 / scaleOf(b);
  for (let i = 0; i < n; i++) {
    store<i8>(to + i, <i8>max<f32>(-127, min<f32>(127, nearest(load<f32>(from + (<usize>i << 2)) * inverse))));
  }
}

/** n numbers, an even count, to n/2 bytes. work: n f32. */
export function storeCodes4(from: usize, n: i32, to: usize, scale: usize, work: usize): void {
  memory.copy(work, from, <usize>n << 2);
  hadamard(work, n);
  const top = scaleByte(largest(work, n) * <f32>(1 / 7.5));
  if (top == 0 || top == WRONG) {
    store<u8>(scale, <u8>top);
    memory.fill(to, 0, n >> 1);
    return;
  }
  let best: u32 = top, least: f32 = Infinity;
  for (let b = top; b > 0 && b + TRIED > top; b--) {
    const s = scaleOf(b), inverse: f32 = <f32>1 / s;
    let error: f32 = 0;
    for (let i = 0; i < n; i++) {
      const x = load<f32>(work + (<usize>i << 2)), d = (level(x, inverse) - <f32>7.5) * s - x;
      error += d * d;
    }
    if (error < least) {
      least = error;
      best = b;
    }
  }
  store<u8>(scale, <u8>best);
  const inverse: f32 = <f32>1 / scaleOf(best), half = n >> 1;
  for (let i = 0; i < half; i++) {
    const low = <i32>level(load<f32>(work + (<usize>i << 2)), inverse);
    const high = <i32>level(load<f32>(work + (<usize>(i + half) << 2)), inverse);
    store<u8>(to + i, <u8>(low | (high << 4)));
  }
}

// @ts-ignore: decorator
@inline
function level(x: f32, inverse: f32): f32 {
  return max<f32>(0, min<f32>(15, floor(x * inverse) + 8));
}

/** The n numbers times factor, back from storeCodes4. */
export function loadCodes4(from: usize, n: i32, scale: usize, factor: f32, to: usize): void {
  const by = scaleOf(load<u8>(scale)) * factor, half = n >> 1, four = f32x4.splat(by), middle = f32x4.splat(7.5);
  const mask = i32x4.splat(15), other = to + (<usize>half << 2);
  let i = 0;
  for (; i + 4 <= half; i += 4) {
    const bytes = i16x8.extend_low_i8x16_u(v128.load32_zero(from + i)), words = i32x4.extend_low_i16x8_u(bytes);
    const low = f32x4.convert_i32x4_s(v128.and(words, mask)), high = f32x4.convert_i32x4_s(i32x4.shr_u(words, 4));
    v128.store(to + (<usize>i << 2), f32x4.mul(f32x4.sub(low, middle), four));
    v128.store(other + (<usize>i << 2), f32x4.mul(f32x4.sub(high, middle), four));
  }
  for (; i < half; i++) {
    const byte = <i32>load<u8>(from + i);
    store<f32>(to + (<usize>i << 2), (<f32>(byte & 15) - <f32>7.5) * by);
    store<f32>(other + (<usize>i << 2), (<f32>(byte >> 4) - <f32>7.5) * by);
  }
  hadamard(to, n);
}

/** Codes of 8 bits: what one of them is worth. */
// @ts-ignore: decorator
@inline
export function unitOf(scale: usize): f32 {
  return scaleOf(load<u8>(scale));
}

/**
 * The orthonormal Walsh-Hadamard transform, its own inverse, in place, of each block of n numbers: blocks are as long as the largest power of two that
 * divides n.
 */
function hadamard(x: usize, n: i32): void {
  const block = n & -n, root = <f32>1 / sqrt<f32>(<f32>block);
  const signs1 = f32x4(1, -1, 1, -1), signs2 = f32x4(1, 1, -1, -1), by = f32x4.splat(root);
  for (const end = x + (<usize>n << 2); x < end; x += <usize>block << 2) {
    if (block < 4) {
      if (block == 1) return;
      const a = load<f32>(x) * root, b = load<f32>(x, 4) * root;
      store<f32>(x, a + b);
      store<f32>(x, a - b, 4);
      continue;
    }
    for (let at = x, to = x + (<usize>block << 2); at < to; at += 16) {
      let v = f32x4.mul(v128.load(at), by);
      v = f32x4.add(v128.shuffle<f32>(v, v, 0, 0, 2, 2), f32x4.mul(v128.shuffle<f32>(v, v, 1, 1, 3, 3), signs1));
      v = f32x4.add(v128.shuffle<f32>(v, v, 0, 1, 0, 1), f32x4.mul(v128.shuffle<f32>(v, v, 2, 3, 2, 3), signs2));
      v128.store(at, v);
    }
    for (let step: usize = 16; step < <usize>block << 2; step <<= 1) {
      for (let first = x; first < x + (<usize>block << 2); first += step << 1) {
        for (let at = first; at < first + step; at += 16) {
          const a = v128.load(at), b = v128.load(at + step);
          v128.store(at, f32x4.add(a, b));
          v128.store(at + step, f32x4.sub(a, b));
        }
      }
    }
  }
}
