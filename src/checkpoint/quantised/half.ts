/**
 * f16 as bits. JavaScript has no half type that all hosts share, so scales are decoded through a table of all 65 536 values,
 * made on first use.
 */
let table: Float32Array | null = null;

/** Value of every f16 by its bits, [65536]. */
export function halfTable(): Float32Array {
  if (table) return table;
  const bits = new Uint32Array(65536);
  for (let h = 0; h < 65536; h++) bits[h] = halfToFloatBits(h);
  table = new Float32Array(bits.buffer);
  return table;
}

function halfToFloatBits(h: number): number {
  const sign = (h & 0x8000) << 16;
  let exponent = (h >> 10) & 0x1f;
  let fraction = h & 0x3ff;
  if (exponent === 0x1f) return (sign | 0x7f800000 | (fraction << 13)) >>> 0;
  if (exponent === 0) {
    if (fraction === 0) return sign >>> 0;
    // subnormal: shift the leading one into place
    exponent = 1;
    while ((fraction & 0x400) === 0) {
      fraction <<= 1;
      exponent--;
    }
    fraction &= 0x3ff;
  }
  return (sign | ((exponent + 112) << 23) | (fraction << 13)) >>> 0;
}

const float = new Float32Array(1);
const floatBits = new Uint32Array(float.buffer);

/** Bits of the f16 nearest to an f32, ties to even; too large becomes infinity, NaN stays NaN. */
export function floatToHalf(value: number): number {
  float[0] = value;
  const bits = floatBits[0]!;
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x477ff000) return sign | 0x7c00; // 65520 and more rounds to infinity
  if (magnitude < 0x38800000) {
    // below 2^-14: a multiple of 2^-24, which f32 addition of 2^-1 (whose last place is 2^-24) rounds to
    float[0] = Math.fround(Math.abs(value) + 0.5);
    return sign | (floatBits[0]! - 0x3f000000);
  }
  const rounded = magnitude + 0xfff + ((magnitude >>> 13) & 1);
  return sign | ((rounded - 0x38000000) >>> 13);
}
