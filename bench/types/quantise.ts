/**
 * Weights in ggml's block formats, by plain rounding: for each block the range of its values is divided evenly. llama.cpp searches for
 * better scales; what a type loses on the way to a device does not depend on that.
 */

import { floatToHalf, halfTable } from '../../src/checkpoint/quantised/half.ts';
import { byteLengthOf } from '../../src/element-types.ts';

export const TYPES = ['q4_0', 'q4_1', 'q5_0', 'q5_1', 'q8_0', 'q4_k', 'q5_k', 'q6_k'] as const;
export type BlockType = (typeof TYPES)[number];

const half = halfTable();
const clamp = (value: number, least: number, most: number): number =>
  Math.min(most, Math.max(least, Math.round(value)));

/** Values, whole blocks of them, in the type. */
export function quantise(type: BlockType, values: Float32Array): Uint8Array {
  const out = new Uint8Array(byteLengthOf(type, values.length));
  const elements = type.endsWith('k') ? 256 : 32;
  const bytes = byteLengthOf(type, elements);
  for (let from = 0, at = 0; from < values.length; from += elements, at += bytes) {
    const block = values.subarray(from, from + elements);
    const to = out.subarray(at, at + bytes);
    switch (type) {
      case 'q4_0':
      case 'q5_0':
      case 'q8_0':
        symmetric(type, block, to);
        break;
      case 'q4_1':
      case 'q5_1':
        withMinimum(type, block, to);
        break;
      case 'q4_k':
      case 'q5_k':
        groups(type, block, to);
        break;
      case 'q6_k':
        sixBits(block, to);
        break;
      default:
        throw new Error(type satisfies never);
    }
  }
  return out;
}

/** Writes a number as f16. @returns what was written */
function putHalf(to: Uint8Array, at: number, value: number): number {
  const bits = floatToHalf(Math.fround(value));
  to[at] = bits;
  to[at + 1] = bits >> 8;
  return half[bits]!;
}

const largest = (values: Float32Array): number => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
const ratio = (a: number, b: number): number => (b === 0 ? 0 : a / b);

function nibbles(to: Uint8Array, at: number, codes: readonly number[]): void {
  for (let i = 0; i < 16; i++) to[at + i] = (codes[i]! & 15) | ((codes[i + 16]! & 15) << 4);
}
function fifths(to: Uint8Array, at: number, codes: readonly number[]): void {
  for (const [i, code] of codes.entries()) to[at + (i >> 3)]! |= (code >> 4) << (i & 7);
}

function symmetric(type: 'q4_0' | 'q5_0' | 'q8_0', values: Float32Array, to: Uint8Array): void {
  const most = { q4_0: 7, q5_0: 15, q8_0: 127 }[type];
  const d = putHalf(to, 0, largest(values) / most);
  const codes = Array.from(values, (value) => clamp(ratio(value, d), -most, most));
  if (type === 'q8_0') to.set(Int8Array.from(codes), 2);
  else if (type === 'q4_0')
    nibbles(
      to,
      2,
      codes.map((code) => code + 8),
    );
  else {
    const shifted = codes.map((code) => code + 16);
    fifths(to, 2, shifted);
    nibbles(to, 6, shifted);
  }
}

function withMinimum(type: 'q4_1' | 'q5_1', values: Float32Array, to: Uint8Array): void {
  const most = type === 'q4_1' ? 15 : 31;
  const m = putHalf(to, 2, Math.min(...values));
  const d = putHalf(to, 0, (Math.max(...values) - m) / most);
  const codes = Array.from(values, (value) => clamp(ratio(value - m, d), 0, most));
  if (type === 'q5_1') fifths(to, 4, codes);
  nibbles(to, type === 'q4_1' ? 4 : 8, codes);
}

/** Eight groups of 32 with 6-bit scales and minima. */
function groups(type: 'q4_k' | 'q5_k', values: Float32Array, to: Uint8Array): void {
  const most = type === 'q4_k' ? 15 : 31;
  const parts = Array.from({ length: 8 }, (_, g) => values.subarray(32 * g, 32 * g + 32));
  const lows = parts.map((part) => Math.max(0, -Math.min(...part)));
  const scales = parts.map((part, g) => (Math.max(...part) + lows[g]!) / most);
  const d = putHalf(to, 0, Math.max(...scales) / 63);
  const dmin = putHalf(to, 2, Math.max(...lows) / 63);
  for (const [g, part] of parts.entries()) {
    const scale = clamp(ratio(scales[g]!, d), 0, 63);
    const low = clamp(ratio(lows[g]!, dmin), 0, 63);
    if (g < 4) {
      to[4 + g]! |= scale;
      to[8 + g]! |= low;
    } else {
      to[8 + g] = (scale & 15) | ((low & 15) << 4);
      to[g]! |= (scale >> 4) << 6;
      to[4 + g]! |= (low >> 4) << 6;
    }
    for (const [i, value] of part.entries()) {
      const code = clamp(ratio(value + dmin * low, d * scale), 0, most);
      if (type === 'q5_k') to[16 + i]! |= (code >> 4) << g;
      to[(type === 'q4_k' ? 16 : 48) + 32 * (g >> 1) + i]! |= (code & 15) << (4 * (g & 1));
    }
  }
}

/** Sixteen groups of 16 with signed 8-bit scales. */
function sixBits(values: Float32Array, to: Uint8Array): void {
  const scales = Array.from({ length: 16 }, (_, g) => largest(values.subarray(16 * g, 16 * g + 16)) / 31);
  const d = putHalf(to, 208, Math.max(...scales) / 127);
  for (const [i, value] of values.entries()) {
    const scale = clamp(ratio(scales[i >> 4]!, d), 0, 127);
    to[192 + (i >> 4)] = scale;
    const code = clamp(ratio(value, d * scale), -32, 31) + 32;
    const [halfBlock, g, within] = [i >> 7, (i >> 5) & 3, i & 31];
    to[64 * halfBlock + 32 * (g & 1) + within]! |= (code & 15) << (4 * (g >> 1));
    to[128 + 32 * halfBlock + within]! |= (code >> 4) << (2 * g);
  }
}
