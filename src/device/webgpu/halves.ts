/**
 * WGSL between bits of f32 and of 16-bit types, in integers: a GPU may flush subnormal numbers, round as it likes when it packs, and lose a NaN that
 * passes through a float.
 */

/** \`halfToFloat(h: u32) -> u32\`: of the low 16 bits; exact, any value. */
const HALF_TO_FLOAT = `fn halfToFloat(h: u32) -> u32 {
  let minus = (h & 0x8000u) << 16u;
  let e = (h >> 10u) & 31u;
  let m = h & 0x3ffu;
  if (e == 31u) { return minus | 0x7f800000u | (m << 13u); }
  if (e != 0u) { return minus | ((e + 112u) << 23u) | (m << 13u); }
  if (m == 0u) { return minus; }
  let zeros = countLeadingZeros(m); // its first bit is made the hidden one
  return minus | ((134u - zeros) << 23u) | (((m << (zeros - 21u)) & 0x3ffu) << 13u);
}`;

/** \`floatToHalf(x: u32) -> u32\`: to nearest, ties to even; what is too large becomes infinite, NaN stays one. */
const FLOAT_TO_HALF = `fn floatToHalf(x: u32) -> u32 {
  let minus = (x >> 16u) & 0x8000u;
  let a = x & 0x7fffffffu;
  if (a > 0x7f800000u) { return minus | 0x7e00u; }
  if (a >= 0x477ff000u) { return minus | 0x7c00u; }
  if (a >= 0x38800000u) { return minus | ((a + 0xfffu + ((a >> 13u) & 1u) - 0x38000000u) >> 13u); }
  let e = a >> 23u;
  if (e < 102u) { return minus; }
  let drop = 126u - e; // 14 to 24 bits of a subnormal half
  let m = (a & 0x7fffffu) | 0x800000u;
  let kept = m >> drop;
  let rest = m & ((1u << drop) - 1u);
  let middle = 1u << (drop - 1u);
  return minus | (kept + select(0u, 1u, rest > middle || (rest == middle && (kept & 1u) == 1u)));
}`;

/** \`bfloatToFloat(b: u32) -> u32\`, of the low 16 bits. */
const BFLOAT_TO_FLOAT = 'fn bfloatToFloat(b: u32) -> u32 { return b << 16u; }';

/** \`floatToBfloat(x: u32) -> u32\`: to nearest, ties to even; NaN keeps a quiet bit. */
const FLOAT_TO_BFLOAT = `fn floatToBfloat(x: u32) -> u32 {
  if ((x & 0x7fffffffu) > 0x7f800000u) { return (x >> 16u) | 0x40u; }
  return (x + 0x7fffu + ((x >> 16u) & 1u)) >> 16u;
}`;

/** \`widened(bits: u32) -> u32\`: the bits of f32 of the low 16 bits. */
export function widening(type: 'f16' | 'bf16'): string {
  const [text, name] = type === 'f16' ? [HALF_TO_FLOAT, 'halfToFloat'] : [BFLOAT_TO_FLOAT, 'bfloatToFloat'];
  return `${text}\nfn widened(bits: u32) -> u32 { return ${name}(bits & 0xffffu); }`;
}

/** \`narrowed(bits: u32) -> u32\`: 16 bits of the bits of an f32. */
export function narrowing(type: 'f16' | 'bf16'): string {
  const [text, name] = type === 'f16' ? [FLOAT_TO_HALF, 'floatToHalf'] : [FLOAT_TO_BFLOAT, 'floatToBfloat'];
  return `${text}\nfn narrowed(bits: u32) -> u32 { return ${name}(bits); }`;
}
