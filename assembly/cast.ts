/** Casts between element types, n elements. Round to nearest even. */
import { bfloats, floatToBfloat, floatToHalf, halfToFloat } from './panel';

export function f16ToF32(n: i32, from: usize, to: usize): void {
  for (; n > 0; n--, from += 2, to += 4) store<f32>(to, halfToFloat(load<u16>(from)));
}

export function bf16ToF32(n: i32, from: usize, to: usize): void {
  for (; n >= 4; n -= 4, from += 8, to += 16) v128.store(to, bfloats(from));
  for (; n > 0; n--, from += 2, to += 4) store<u32>(to, <u32>load<u16>(from) << 16);
}

export function f32ToF16(n: i32, from: usize, to: usize): void {
  for (; n > 0; n--, from += 4, to += 2) store<u16>(to, floatToHalf(load<f32>(from)));
}

export function f32ToBf16(n: i32, from: usize, to: usize): void {
  for (; n > 0; n--, from += 4, to += 2) store<u16>(to, floatToBfloat(load<u32>(from)));
}

/** 1 if one of n f32 is infinite or not a number. */
export function notFinite(n: i32, x: usize): i32 {
  for (; n > 0; n--, x += 4) if ((load<u32>(x) & 0x7f800000) == 0x7f800000) return 1;
  return 0;
}
