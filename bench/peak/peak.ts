// @ts-nocheck: AssemblyScript, compiled by probe.ts
// What one core of this engine can do at best with 128-bit vectors: the ceilings that the other figures are a share of.
// Twelve chains cover the latency (4 cycles x 2 units fused, 6 x 2 for a multiply and an add) and fit 15 registers.

const CHAINS: i32 = 12;
const LANES: i32 = 4;

/** Floating-point operations of one step of either loop. */
export function flopsPerStep(): i32 {
  return CHAINS * LANES * 2;
}

/** `steps` times: every chain c = a * b + c, fused. The result keeps the work alive. */
export function fused(steps: i32, a0: f32, b0: f32): f32 {
  const a = f32x4.splat(a0);
  const b = f32x4.splat(b0);
  let c0: v128 = f32x4.splat(0.0);
  let c1: v128 = f32x4.splat(1.0);
  let c2: v128 = f32x4.splat(2.0);
  let c3: v128 = f32x4.splat(3.0);
  let c4: v128 = f32x4.splat(4.0);
  let c5: v128 = f32x4.splat(5.0);
  let c6: v128 = f32x4.splat(6.0);
  let c7: v128 = f32x4.splat(7.0);
  let c8: v128 = f32x4.splat(8.0);
  let c9: v128 = f32x4.splat(9.0);
  let c10: v128 = f32x4.splat(10.0);
  let c11: v128 = f32x4.splat(11.0);
  for (let i = 0; i < steps; i++) {
    if (ASC_FEATURE_RELAXED_SIMD) {
      c0 = f32x4.relaxed_madd(a, b, c0);
      c1 = f32x4.relaxed_madd(a, b, c1);
      c2 = f32x4.relaxed_madd(a, b, c2);
      c3 = f32x4.relaxed_madd(a, b, c3);
      c4 = f32x4.relaxed_madd(a, b, c4);
      c5 = f32x4.relaxed_madd(a, b, c5);
      c6 = f32x4.relaxed_madd(a, b, c6);
      c7 = f32x4.relaxed_madd(a, b, c7);
      c8 = f32x4.relaxed_madd(a, b, c8);
      c9 = f32x4.relaxed_madd(a, b, c9);
      c10 = f32x4.relaxed_madd(a, b, c10);
      c11 = f32x4.relaxed_madd(a, b, c11);
    }
  }
  return f32x4.extract_lane(
    f32x4.add(
      f32x4.add(f32x4.add(c0, f32x4.add(c1, c2)), f32x4.add(c3, f32x4.add(c4, c5))),
      f32x4.add(f32x4.add(c6, f32x4.add(c7, c8)), f32x4.add(c9, f32x4.add(c10, c11))),
    ),
    0,
  );
}

/** `steps` times: every chain c = c * a + b, as two operations. (a * b + c would be hoisted out of the loop.) */
export function mulAdd(steps: i32, a0: f32, b0: f32): f32 {
  const a = f32x4.splat(a0);
  const b = f32x4.splat(b0);
  let c0: v128 = f32x4.splat(0.0);
  let c1: v128 = f32x4.splat(1.0);
  let c2: v128 = f32x4.splat(2.0);
  let c3: v128 = f32x4.splat(3.0);
  let c4: v128 = f32x4.splat(4.0);
  let c5: v128 = f32x4.splat(5.0);
  let c6: v128 = f32x4.splat(6.0);
  let c7: v128 = f32x4.splat(7.0);
  let c8: v128 = f32x4.splat(8.0);
  let c9: v128 = f32x4.splat(9.0);
  let c10: v128 = f32x4.splat(10.0);
  let c11: v128 = f32x4.splat(11.0);
  for (let i = 0; i < steps; i++) {
    c0 = f32x4.add(f32x4.mul(c0, a), b);
    c1 = f32x4.add(f32x4.mul(c1, a), b);
    c2 = f32x4.add(f32x4.mul(c2, a), b);
    c3 = f32x4.add(f32x4.mul(c3, a), b);
    c4 = f32x4.add(f32x4.mul(c4, a), b);
    c5 = f32x4.add(f32x4.mul(c5, a), b);
    c6 = f32x4.add(f32x4.mul(c6, a), b);
    c7 = f32x4.add(f32x4.mul(c7, a), b);
    c8 = f32x4.add(f32x4.mul(c8, a), b);
    c9 = f32x4.add(f32x4.mul(c9, a), b);
    c10 = f32x4.add(f32x4.mul(c10, a), b);
    c11 = f32x4.add(f32x4.mul(c11, a), b);
  }
  return f32x4.extract_lane(
    f32x4.add(
      f32x4.add(f32x4.add(c0, f32x4.add(c1, c2)), f32x4.add(c3, f32x4.add(c4, c5))),
      f32x4.add(f32x4.add(c6, f32x4.add(c7, c8)), f32x4.add(c9, f32x4.add(c10, c11))),
    ),
    0,
  );
}

/** Reads `bytes` (a multiple of 128) from `at`. */
export function read(at: usize, bytes: usize): i32 {
  let c0: v128 = i32x4.splat(0);
  let c1: v128 = i32x4.splat(0);
  let c2: v128 = i32x4.splat(0);
  let c3: v128 = i32x4.splat(0);
  let c4: v128 = i32x4.splat(0);
  let c5: v128 = i32x4.splat(0);
  let c6: v128 = i32x4.splat(0);
  let c7: v128 = i32x4.splat(0);
  for (const end = at + bytes; at < end; at += 128) {
    c0 = v128.xor(c0, v128.load(at, 0));
    c1 = v128.xor(c1, v128.load(at, 16));
    c2 = v128.xor(c2, v128.load(at, 32));
    c3 = v128.xor(c3, v128.load(at, 48));
    c4 = v128.xor(c4, v128.load(at, 64));
    c5 = v128.xor(c5, v128.load(at, 80));
    c6 = v128.xor(c6, v128.load(at, 96));
    c7 = v128.xor(c7, v128.load(at, 112));
  }
  const c = v128.xor(v128.xor(v128.xor(c0, c1), v128.xor(c2, c3)), v128.xor(v128.xor(c4, c5), v128.xor(c6, c7)));
  return i32x4.extract_lane(c, 0) ^ i32x4.extract_lane(c, 1) ^ i32x4.extract_lane(c, 2) ^ i32x4.extract_lane(c, 3);
}
