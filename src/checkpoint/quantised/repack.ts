import { BLOCK_SIZE, byteLengthOf } from '../../element-types.ts';
import type { StoredType } from '../types.ts';
import { checkBlocks, DECODERS, fifthBits, groupMinimum, groupScale } from './dequantise.ts';
import { floatToHalf, halfTable } from './half.ts';

/** What a stored type becomes on the device. */
export interface RepackPlan {
  readonly to: 'q8_0' | 'q8_1' | 'q4_1';
  /** Bytes that so many elements take afterwards. */
  bytes(elements: number): number;
}

/** How a stored type is brought to one that devices compute with; null: as it is. */
export function repackPlan(type: StoredType): RepackPlan | null {
  switch (type) {
    case 'q5_0':
    case 'q6_k':
      return { to: 'q8_0', bytes: (elements) => byteLengthOf('q8_0', elements) };
    case 'q5_1':
    case 'q5_k':
      return { to: 'q8_1', bytes: (elements) => byteLengthOf('q8_1', elements) };
    case 'q4_k':
      return { to: 'q4_1', bytes: (elements) => byteLengthOf('q4_1', elements) };
    case 'f32':
    case 'f16':
    case 'bf16':
    case 'q8_0':
    case 'q4_0':
    case 'q4_1':
      return null;
    default:
      return type satisfies never;
  }
}

/**
 * Brings blocks into the type that `repackPlan` names. Per weight, against the exact dequantised value w:
 *
 * - q5_0 → q8_0 is exact: the same d, codes less 16. q5_1 → q8_1 is exact: the same d, minimum and codes.
 * - q6_k → q8_0: each 32 values are quantised anew with d' = f16(d), d = max|w|/127, and the nearest code. Where d'
 *   is a normal f16 it is at least d·(1 - 2^-11), so |w| <= 127.07·d', the clamp to ±127 costs less than 0.07·d', and
 *   |error| <= 0.5·d'. Where d' is subnormal it misses d by at most 2^-25 and the clamp may cost 127 times that:
 *   |error| <= max(0.5·d', 127·2^-25 = 3.8e-6).
 * - q4_k → q4_1, q5_k → q8_1: codes are kept; the group's scale and minimum, products of f16 and 6 bits, are rounded to f16 (11 bits):
 *   |error| <= c·max(2^-11·scale, 2^-25) + max(2^-11·minimum, 2^-25) with the largest code c, 15 or 31, beside the roundings to f32 of
 *   either decoding (2^-23·(c·scale + minimum)).
 *
 * A scale that is not finite, or that leaves f16's range, stays or becomes so; the device reports it while loading.
 *
 * @param bytes whole blocks of `elements` values
 * @throws E_SHAPE when the two do not fit each other
 */
export function repackRows(type: StoredType, bytes: Uint8Array, elements: number): Uint8Array {
  checkBlocks(type, bytes, elements);
  const plan = repackPlan(type);
  if (plan === null) return bytes;
  const out = new Uint8Array(plan.bytes(elements));
  switch (type) {
    case 'q5_0':
      shiftQ5(bytes, out);
      return out;
    case 'q5_1':
      widenQ51(bytes, out);
      return out;
    case 'q4_k':
    case 'q5_k':
      splitK(type, bytes, out);
      return out;
    case 'q6_k':
      requantise(bytes, out);
      return out;
    case 'f32':
    case 'f16':
    case 'bf16':
    case 'q8_0':
    case 'q4_0':
    case 'q4_1':
      return bytes;
    default:
      return type satisfies never;
  }
}

function shiftQ5(bytes: Uint8Array, out: Uint8Array): void {
  for (let at = 0, to = 0; to < out.length; at += BLOCK_SIZE.q5_0.bytes, to += BLOCK_SIZE.q8_0.bytes) {
    out[to] = bytes[at]!;
    out[to + 1] = bytes[at + 1]!;
    const high = fifthBits(bytes, at + 2);
    for (let i = 0; i < 16; i++) {
      const byte = bytes[at + 6 + i]!;
      out[to + 2 + i] = ((byte & 15) | (((high >>> i) & 1) << 4)) - 16;
      out[to + 18 + i] = ((byte >> 4) | (((high >>> (i + 16)) & 1) << 4)) - 16;
    }
  }
}

function widenQ51(bytes: Uint8Array, out: Uint8Array): void {
  for (let at = 0, to = 0; to < out.length; at += BLOCK_SIZE.q5_1.bytes, to += BLOCK_SIZE.q8_1.bytes) {
    out.set(bytes.subarray(at, at + 4), to);
    const high = fifthBits(bytes, at + 4);
    for (let i = 0; i < 16; i++) {
      const byte = bytes[at + 8 + i]!;
      out[to + 4 + i] = (byte & 15) | (((high >>> i) & 1) << 4);
      out[to + 20 + i] = (byte >> 4) | (((high >>> (i + 16)) & 1) << 4);
    }
  }
}

/** Blocks of 256 to blocks of 32: of codes of 4 bits in pairs, of 5 bits in bytes. */
function splitK(type: 'q4_k' | 'q5_k', bytes: Uint8Array, out: Uint8Array): void {
  const half = halfTable();
  const block = BLOCK_SIZE[type].bytes;
  // codes behind the scales, those of five bits behind their fifth bits too
  const [low, size] = type === 'q4_k' ? [16, BLOCK_SIZE.q4_1.bytes] : [48, BLOCK_SIZE.q8_1.bytes];
  for (let at = 0, to = 0; to < out.length; at += block) {
    const d = half[bytes[at]! | (bytes[at + 1]! << 8)]!;
    const dmin = half[bytes[at + 2]! | (bytes[at + 3]! << 8)]!;
    for (let group = 0; group < 8; group++, to += size) {
      const scale = floatToHalf(Math.fround(d * groupScale(bytes, at + 4, group)));
      const minimum = floatToHalf(Math.fround(-dmin * groupMinimum(bytes, at + 4, group)));
      out[to] = scale;
      out[to + 1] = scale >> 8;
      out[to + 2] = minimum;
      out[to + 3] = minimum >> 8;
      const from = at + low + 32 * (group >> 1);
      const shift = 4 * (group & 1);
      const code = (i: number) => (bytes[from + i]! >> shift) & 15;
      if (type === 'q4_k') for (let i = 0; i < 16; i++) out[to + 4 + i] = code(i) | (code(16 + i) << 4);
      else for (let i = 0; i < 32; i++) out[to + 4 + i] = code(i) | (((bytes[at + 16 + i]! >> group) & 1) << 4);
    }
  }
}

function requantise(bytes: Uint8Array, out: Uint8Array): void {
  const decode = DECODERS.q6_k;
  const block = BLOCK_SIZE.q6_k;
  const values = new Float32Array(block.elements);
  for (let at = 0, to = 0; at < bytes.length; at += block.bytes) {
    decode(bytes, at, values, 0);
    for (let from = 0; from < values.length; from += 32, to += BLOCK_SIZE.q8_0.bytes) quantiseQ8(values, from, out, to);
  }
}

function quantiseQ8(values: Float32Array, from: number, out: Uint8Array, to: number): void {
  let largest = 0;
  let broken = false;
  for (let i = from; i < from + 32; i++) {
    const magnitude = Math.abs(values[i]!);
    if (magnitude > largest) largest = magnitude;
    else if (Number.isNaN(magnitude)) broken = true; // NaN compares with nothing; it must not vanish into a code
  }
  const d = broken ? 0x7e00 : floatToHalf(Math.fround(largest / 127));
  out[to] = d;
  out[to + 1] = d >> 8;
  const scale = halfTable()[d]!;
  const inverse = scale > 0 && scale < Infinity ? 1 / scale : 0;
  for (let i = 0; i < 32; i++) {
    const code = values[from + i]! * inverse;
    const nearest = code < 0 ? Math.max(-127, Math.ceil(code - 0.5)) : Math.min(127, Math.floor(code + 0.5));
    out[to + 2 + i] = nearest;
  }
}
