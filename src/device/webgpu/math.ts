/**
 * Functions in WGSL that are more exact than its own: e^x there may be wrong by 3 + 2 |x| units in the last place, ln x by 2^-21 near 1, and a
 * quotient by 2.5 units. These are wrong by 2e-7 of the result at most, whatever the GPU.
 */

/**
 * `NAME(x)`: e^x of an f32 or a vec4f; 0 below -87.3, finite above 88, NaN of NaN. Range reduction by ln 2 in two parts (Cody and Waite) and the polynomial
 * of Cephes' expf (S. Moshier), as in assembly/math.ts.
 */
export function exponential(name: string, type: 'f32' | 'vec4f'): string {
  const [whole, shift] = type === 'f32' ? ['i32', '23u'] : ['vec4i', 'vec4u(23u)'];
  return `fn ${name}(x: ${type}) -> ${type} {
  let under = x < ${type}(-87.3);
  let y = select(select(x, ${type}(-87.3), under), ${type}(88.0), x > ${type}(88.0));
  let n = round(y * 1.44269504088896341);
  let r = fma(n, ${type}(2.12194440e-4), fma(n, ${type}(-0.693359375), y));
  var p = fma(r, ${type}(1.9875691500e-4), ${type}(1.3981999507e-3));
  p = fma(p, r, ${type}(8.3334519073e-3));
  p = fma(p, r, ${type}(4.1665795894e-2));
  p = fma(p, r, ${type}(1.6666665459e-1));
  p = fma(p, r, ${type}(5.0000001201e-1));
  p = fma(p * r, r, r) + 1.0;
  return select(p * bitcast<${type}>((${whole}(n) + 127) << ${shift}), ${type}(0.0), under);
}`;
}

/**
 * `log1p(x)`, x >= 0: ln(1 + x), by Cephes' logf (S. Moshier) and what rounding 1 + x left out.
 */
export const LOG1P = `fn log1p(x: f32) -> f32 {
  let w = 1.0 + x;
  let bits = bitcast<u32>(w);
  var e = f32(i32(bits >> 23u) - 127);
  var m = bitcast<f32>((bits & 0x7fffffu) | 0x3f800000u);
  if (m > 1.41421356) {
    m *= 0.5;
    e += 1.0;
  }
  let f = m - 1.0;
  let z = f * f;
  var p = fma(7.0376836292e-2, f, -1.1514610310e-1);
  p = fma(p, f, 1.1676998740e-1);
  p = fma(p, f, -1.2420140846e-1);
  p = fma(p, f, 1.4249322787e-1);
  p = fma(p, f, -1.6668057665e-1);
  p = fma(p, f, 2.0000714765e-1);
  p = fma(p, f, -2.4999993993e-1);
  p = fma(p, f, 3.3333331174e-1);
  let y = fma(-0.5, z, fma(-2.12194440e-4, e, f * z * p));
  return fma(0.693359375, e, f + y) + (x - (w - 1.0)) / w;
}`;

/** `quotient(a, b)`: a / b, with what a first quotient leaves divided again. */
export const QUOTIENT = `fn quotient(a: f32, b: f32) -> f32 {
  let q = a / b;
  return fma(fma(-q, b, a), 1.0 / b, q);
}`;

/** `sigmoid(x)`, by `exp1`, e^x of an f32, and `quotient`: neither side overflows. */
export const SIGMOID = `fn sigmoid(x: f32) -> f32 {
  let e = exp1(-abs(x));
  return quotient(select(1.0, e, x < 0.0), 1.0 + e);
}`;

/**
 * `NAME(d, e, order, rest, inverse)`: (e^(q d) - e^d) / (q - 1) for d <= 0, with e = e^d, rest = q - 1, inverse = 1 / rest (0 for q = 1, where the
 * limit is e^d · d). Where (q - 1) d is small it is e^d · d · (e^y - 1) / y, y = (q - 1) d, by Taylor's series, as in assembly/logits.ts. `exp`: the
 * name of e^x of that type.
 */
export function powerGap(name: string, type: 'f32' | 'vec4f', exp: string): string {
  return `fn ${name}(d: ${type}, e: ${type}, order: f32, rest: f32, inverse: f32) -> ${type} {
  let y = d * rest;
  let near = e * d * ${name}Series(y);
  let far = (${exp}(d * order) - e) * inverse;
  return select(far, near, abs(y) < ${type}(0.5));
}
fn ${name}Series(y: ${type}) -> ${type} {
  var p = fma(y, ${type}(2.48015873e-5), ${type}(1.98412698e-4));
  p = fma(p, y, ${type}(1.38888889e-3));
  p = fma(p, y, ${type}(8.33333333e-3));
  p = fma(p, y, ${type}(4.16666667e-2));
  p = fma(p, y, ${type}(1.66666667e-1));
  p = fma(p, y, ${type}(0.5));
  return fma(p, y, ${type}(1.0));
}`;
}

/** The numbers of an order q: q, q - 1 and 1 / (q - 1), or 0 for that. */
export function orderNumbers(order: number): [order: number, rest: number, inverse: number] {
  const q = Math.min(order, 1e30);
  const inverse = q === 1 ? 0 : 1 / (q - 1);
  return [q, q - 1, Math.max(-3e38, Math.min(3e38, inverse))];
}
