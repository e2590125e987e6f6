/** Vector helpers shared by the kernels. */

/** a · b + c, fused where the build has relaxed SIMD. */
// @ts-ignore: decorator
@inline
export function madd(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_madd(a, b, c);
  return f32x4.add(f32x4.mul(a, b), c);
}

// @ts-ignore: decorator
@inline
export function sum4(v: v128): f32 {
  const w = f32x4.add(v, v128.shuffle<f32>(v, v, 2, 3, 0, 1));
  return f32x4.extract_lane(w, 0) + f32x4.extract_lane(w, 1);
}

// @ts-ignore: decorator
@inline
export function max4(v: v128): f32 {
  const w = f32x4.pmax(v, v128.shuffle<f32>(v, v, 2, 3, 0, 1));
  return max(f32x4.extract_lane(w, 0), f32x4.extract_lane(w, 1));
}

/** The largest lane, in every lane. */
// @ts-ignore: decorator
@inline
export function maxLanes(v: v128): v128 {
  const w = f32x4.pmax(v, v128.shuffle<f32>(v, v, 2, 3, 0, 1));
  return f32x4.pmax(w, v128.shuffle<f32>(w, w, 1, 0, 3, 2));
}

/**
 * Constants of exp4, in memory because V8 spends several instructions on each vector constant at each use: the limits, log2 e,
 * 1.5 · 2^23, ln 2 in two parts, the polynomial, 1, and the bits of 127.
 */
export const EXP: usize = memory.data<f32>([
  -87.3, 88, 1.44269504088896341, 12582912, 0.693359375, -2.12194440e-4, 1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3,
  4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1, 1, 1.7796490496925177e-43,
]);

/**
 * e^x, relative error below 2e-7 for -87.3 < x < 88; 0 below, finite above. Range reduction by ln 2 in two parts (Cody and
 * Waite) and the degree-5 polynomial of Cephes' expf (S. Moshier). Adding 1.5 · 2^23 rounds to an integer and leaves it in the
 * low bits, which saves a conversion that takes V8 eight instructions; so does pmax instead of max.
 */
// @ts-ignore: decorator
@inline
export function exp4(x: v128): v128 {
  const magic = v128.load32_splat(EXP, 12), least = v128.load32_splat(EXP), under = f32x4.lt(x, least);
  x = f32x4.pmax(least, f32x4.pmin(v128.load32_splat(EXP, 4), x));
  const t = madd(x, v128.load32_splat(EXP, 8), magic), n = f32x4.sub(t, magic);
  let r = f32x4.sub(x, f32x4.mul(n, v128.load32_splat(EXP, 16)));
  r = f32x4.sub(r, f32x4.mul(n, v128.load32_splat(EXP, 20)));
  let p = v128.load32_splat(EXP, 24);
  p = madd(p, r, v128.load32_splat(EXP, 28));
  p = madd(p, r, v128.load32_splat(EXP, 32));
  p = madd(p, r, v128.load32_splat(EXP, 36));
  p = madd(p, r, v128.load32_splat(EXP, 40));
  p = madd(p, r, v128.load32_splat(EXP, 44));
  p = f32x4.add(madd(f32x4.mul(p, r), r, r), v128.load32_splat(EXP, 48));
  return v128.andnot(f32x4.mul(p, i32x4.shl(i32x4.add(t, v128.load32_splat(EXP, 52)), 23)), under);
}

/** Constants of exp2x4 and sigmoid4: the least power, 1.5 · 2^23, the polynomial of Cephes' exp2f (S. Moshier), 1, the greatest power, -log2 e. */
export const EXP2: usize = memory.data<f32>([
  -100, 12582912, 1.535336188319500e-4, 1.339887440266574e-3, 9.618437357674640e-3, 5.550332471162809e-2,
  2.402264791363012e-1, 6.931472028550421e-1, 1, 126, -1.44269504088896341,
]);

/**
 * 2^x for -100 <= x <= 126, relative error below 2e-7, with its constants given, for loops that keep them in registers: magic, 1, and
 * the polynomial's from EXP2.
 */
// @ts-ignore: decorator
@inline
export function exp2With(x: v128, magic: v128, one: v128, c0: v128, c1: v128, c2: v128, c3: v128, c4: v128, c5: v128): v128 {
  const t = f32x4.add(x, magic), r = f32x4.sub(x, f32x4.sub(t, magic));
  let p = madd(c0, r, c1);
  p = madd(p, r, c2);
  p = madd(p, r, c3);
  p = madd(p, r, c4);
  p = madd(p, r, c5);
  return i32x4.add(madd(p, r, one), i32x4.shl(t, 23));
}

/**
 * 2^x for x <= 126, relative error below 2e-7; 2^-100 below -100 (not 0: a product with it is still a normal number, and denormal
 * ones are slow). Half the instructions of exp4: the power goes straight into the exponent.
 */
// @ts-ignore: decorator
@inline
export function exp2x4(x: v128): v128 {
  return exp2With(
    f32x4.pmax(v128.load32_splat(EXP2), x), v128.load32_splat(EXP2, 4), v128.load32_splat(EXP2, 32), v128.load32_splat(EXP2, 8),
    v128.load32_splat(EXP2, 12), v128.load32_splat(EXP2, 16), v128.load32_splat(EXP2, 20), v128.load32_splat(EXP2, 24),
    v128.load32_splat(EXP2, 28),
  );
}

/** 1 / (1 + e^-x): by 2^(-x log2 e), whose argument is held between -100 and 126. */
// @ts-ignore: decorator
@inline
export function sigmoid4(x: v128): v128 {
  const power = f32x4.pmin(v128.load32_splat(EXP2, 36), f32x4.mul(x, v128.load32_splat(EXP2, 40)));
  const one = v128.load32_splat(EXP2, 32);
  return f32x4.div(one, f32x4.add(one, exp2x4(power)));
}

/** log2 e: softmax in powers of two. */
export const LOG2_E: f32 = 1.44269504088896341;

/** 64 words of ones, a zero, and 63 of ones: a window of 32 words hides one of them, or none (quantise.ts). */
export const WINDOW: usize = memory.data<u32>([
  0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff,
  0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff,
  0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff,
  0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff,
  0, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff,
  0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff,
  0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff,
  0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff,
]);

/**
 * Sixteen bytes of 15, four words of 0x8fffffff (panel.ts), eight halves of 15, four words of 15, four words of 255, four of
 * 0x7fffffff, eight halves of 1; in memory for the same reason as EXP.
 */
export const MASKS: usize = memory.data<u32>([
  0x0f0f0f0f, 0x0f0f0f0f, 0x0f0f0f0f, 0x0f0f0f0f, 0x8fffffff, 0x8fffffff, 0x8fffffff, 0x8fffffff,
  0x000f000f, 0x000f000f, 0x000f000f, 0x000f000f, 15, 15, 15, 15, 255, 255, 255, 255,
  0x7fffffff, 0x7fffffff, 0x7fffffff, 0x7fffffff, 0x00010001, 0x00010001, 0x00010001, 0x00010001,
]);
