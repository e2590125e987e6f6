/** What blocks have in common. */
import { halfTable } from './half.ts';

export const f32 = Math.fround;

export const scaleAt = (bytes: Uint8Array, at: number): number => halfTable()[bytes[at]! | (bytes[at + 1]! << 8)]!;

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
