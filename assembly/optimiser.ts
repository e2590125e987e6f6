/** The optimiser: clipping's norm, and AdamW. Rounded the same in every build, since memory is what limits them. */

/** Sums of squares in f64 of the blocks first..last-1 of `block` elements, a multiple of 8, of x [n]: to sums [blocks]. */
export function sumSquares(first: i32, last: i32, block: i32, n: i32, x: usize, sums: usize): void {
  for (let b = first; b < last; b++) {
    let p = x + (<usize>(b * block) << 2), i = min(block, n - b * block);
    let s0 = f64x2.splat(0), s1 = s0, s2 = s0, s3 = s0;
    for (; i >= 8; i -= 8, p += 32) {
      const u = v128.load(p), v = v128.load(p, 16);
      const u0 = f64x2.promote_low_f32x4(u), u1 = f64x2.promote_low_f32x4(v128.shuffle<f64>(u, u, 1, 0));
      const v0 = f64x2.promote_low_f32x4(v), v1 = f64x2.promote_low_f32x4(v128.shuffle<f64>(v, v, 1, 0));
      s0 = f64x2.add(s0, f64x2.mul(u0, u0));
      s1 = f64x2.add(s1, f64x2.mul(u1, u1));
      s2 = f64x2.add(s2, f64x2.mul(v0, v0));
      s3 = f64x2.add(s3, f64x2.mul(v1, v1));
    }
    const s = f64x2.add(f64x2.add(s0, s1), f64x2.add(s2, s3));
    let sum = f64x2.extract_lane(s, 0) + f64x2.extract_lane(s, 1);
    for (; i > 0; i--, p += 4) sum += <f64>load<f32>(p) * <f64>load<f32>(p);
    store<f64>(sums + (<usize>b << 3), sum);
  }
}

/**
 * One step of AdamW (Loshchilov and Hutter 2019) over n elements: g = gradientScale · gradient; m = beta1 · m + rest1 · g;
 * v = beta2 · v + rest2 · g²; θ -= rate · m / (√(unbias2 · v) + epsilon) + decay · θ. rest1, rest2: 1 - beta1, 1 - beta2; unbias2:
 * 1 / (1 - beta2^t); rate: the learning rate / (1 - beta1^t); decay: the learning rate times the weight decay.
 */
export function adamStep(
  n: i32, parameters: usize, gradient: usize, m: usize, v: usize, gradientScale: f32, beta1: f32, rest1: f32, beta2: f32,
  rest2: f32, unbias2: f32, epsilon: f32, rate: f32, decay: f32,
): void {
  const scale4 = f32x4.splat(gradientScale), b1 = f32x4.splat(beta1), r1 = f32x4.splat(rest1), b2 = f32x4.splat(beta2);
  const r2 = f32x4.splat(rest2), unbias = f32x4.splat(unbias2), eps = f32x4.splat(epsilon);
  const rate4 = f32x4.splat(rate), decay4 = f32x4.splat(decay);
  let i: usize = 0;
  for (const whole = <usize>(n & ~3) << 2; i < whole; i += 16) {
    const g = f32x4.mul(scale4, v128.load(gradient + i)), theta = v128.load(parameters + i);
    const mean = f32x4.add(f32x4.mul(b1, v128.load(m + i)), f32x4.mul(r1, g));
    const square = f32x4.add(f32x4.mul(b2, v128.load(v + i)), f32x4.mul(r2, f32x4.mul(g, g)));
    const step = f32x4.div(f32x4.mul(rate4, mean), f32x4.add(f32x4.sqrt(f32x4.mul(unbias, square)), eps));
    v128.store(m + i, mean);
    v128.store(v + i, square);
    v128.store(parameters + i, f32x4.sub(theta, f32x4.add(step, f32x4.mul(decay4, theta))));
  }
  for (const end = <usize>n << 2; i < end; i += 4) {
    const g = gradientScale * load<f32>(gradient + i), theta = load<f32>(parameters + i);
    const mean = beta1 * load<f32>(m + i) + rest1 * g, square = beta2 * load<f32>(v + i) + rest2 * (g * g);
    store<f32>(m + i, mean);
    store<f32>(v + i, square);
    store<f32>(parameters + i, theta - (rate * mean / (sqrt<f32>(unbias2 * square) + epsilon) + decay * theta));
  }
}
