/** What blocks have in common. */
import { floatToHalf, halfTable } from './half.ts';

export const f32 = Math.fround;

export const scaleAt = (bytes: Uint8Array, at: number): number => halfTable()[bytes[at]! | (bytes[at + 1]! << 8)]!;

export function putScale(bytes: Uint8Array, at: number, scale: number): void {
  const half = floatToHalf(scale);
  bytes[at] = half & 255;
  bytes[at + 1] = half >> 8;
}

/** Of a block of 32 that of the largest magnitude, of equal ones the first; NaN where there is one. */
export function largestOf(values: Float32Array, from: number): number {
  let largest = values[from]!; // not 0: a zero has a sign
  for (let i = from; i < from + 32; i++) {
    const value = values[i]!;
    if (Number.isNaN(value)) return value;
    if (Math.abs(value) > Math.abs(largest)) largest = value;
  }
  return largest;
}

/** What values are multiplied with instead of being divided, as llama.cpp does it: 1/d, and 0 of 0. */
export const inverse = (d: number): number => (d === 0 ? 0 : f32(1 / d));

/** Four bytes, bit i the fifth bit of value i. */
export function fifthBits(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
}

/** Of the K types: 6-bit scale of a group: groups 0–3 in the low bits of bytes 0–3; 4–7 in low halves of bytes 8–11 with top bits of 0–3. */
export function groupScale(bytes: Uint8Array, at: number, group: number): number {
  return group < 4 ? bytes[at + group]! & 63 : (bytes[at + 4 + group]! & 15) | ((bytes[at + group - 4]! >> 2) & 48);
}

export function groupMinimum(bytes: Uint8Array, at: number, group: number): number {
  return group < 4 ? bytes[at + 4 + group]! & 63 : (bytes[at + 4 + group]! >> 4) | ((bytes[at + group]! >> 2) & 48);
}
