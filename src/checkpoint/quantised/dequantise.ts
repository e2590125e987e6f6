import { BLOCK_SIZE } from '../../element-types.ts';
import { EspalierError } from '../../errors.ts';
import type { StoredType } from '../types.ts';
import { halfTable } from './half.ts';

const f32 = Math.fround;

/**
 * The values behind stored bytes, in f32, bit for bit those of `gguf.quants.dequantize` (and so of ggml's own code, which
 * rounds at the same places): every product and sum is rounded to f32 in that order.
 *
 * @param bytes whole blocks
 * @param elements how many values they hold; a multiple of the type's block
 * @throws E_SHAPE when the two do not fit each other
 */
export function dequantise(type: StoredType, bytes: Uint8Array, elements: number): Float32Array {
  checkBlocks(type, bytes, elements);
  const out = new Float32Array(elements);
  const block = BLOCK_SIZE[type];
  if (type === 'f32') new Uint8Array(out.buffer).set(bytes);
  else if (type === 'f16') widenHalf(bytes, out);
  else if (type === 'bf16') widenBfloat(bytes, out);
  else {
    const decode = DECODERS[type];
    for (let at = 0, to = 0; to < elements; at += block.bytes, to += block.elements) decode(bytes, at, out, to);
  }
  return out;
}

/** @throws E_SHAPE unless `bytes` are exactly the blocks of `elements` values */
export function checkBlocks(type: StoredType, bytes: Uint8Array, elements: number): void {
  const block = BLOCK_SIZE[type];
  if (elements % block.elements === 0 && bytes.byteLength === (elements / block.elements) * block.bytes) return;
  throw new EspalierError(
    'E_SHAPE',
    `${bytes.byteLength} bytes are not ${elements} values of type ${type}.`,
    `Pass whole blocks: ${block.elements} values in ${block.bytes} bytes.`,
  );
}

function widenHalf(bytes: Uint8Array, out: Float32Array): void {
  const half = halfTable();
  for (let i = 0; i < out.length; i++) out[i] = half[bytes[2 * i]! | (bytes[2 * i + 1]! << 8)]!;
}

function widenBfloat(bytes: Uint8Array, out: Float32Array): void {
  const bits = new Uint32Array(out.buffer);
  for (let i = 0; i < out.length; i++) bits[i] = (bytes[2 * i]! << 16) | (bytes[2 * i + 1]! << 24);
}

/** Decodes one block at `bytes[at…]` into `out[to…]`. */
export type BlockDecoder = (bytes: Uint8Array, at: number, out: Float32Array, to: number) => void;

const scaleAt = (bytes: Uint8Array, at: number): number => halfTable()[bytes[at]! | (bytes[at + 1]! << 8)]!;

/** d, then 16 bytes: value i in the low half of byte i, value i + 16 in the high half; minus 8. */
function q4_0(bytes: Uint8Array, at: number, out: Float32Array, to: number): void {
  const d = scaleAt(bytes, at);
  for (let i = 0; i < 16; i++) {
    const byte = bytes[at + 2 + i]!;
    out[to + i] = d * ((byte & 15) - 8);
    out[to + 16 + i] = d * ((byte >> 4) - 8);
  }
}

/** d, m, then as q4_0 without the offset: d·q + m. */
function q4_1(bytes: Uint8Array, at: number, out: Float32Array, to: number): void {
  const d = scaleAt(bytes, at);
  const m = scaleAt(bytes, at + 2);
  for (let i = 0; i < 16; i++) {
    const byte = bytes[at + 4 + i]!;
    out[to + i] = f32(d * (byte & 15)) + m;
    out[to + 16 + i] = f32(d * (byte >> 4)) + m;
  }
}

/** d, 32 fifth bits, then as q4_0; minus 16. */
function q5_0(bytes: Uint8Array, at: number, out: Float32Array, to: number): void {
  const d = scaleAt(bytes, at);
  const high = fifthBits(bytes, at + 2);
  for (let i = 0; i < 16; i++) {
    const byte = bytes[at + 6 + i]!;
    out[to + i] = d * (((byte & 15) | (((high >>> i) & 1) << 4)) - 16);
    out[to + 16 + i] = d * (((byte >> 4) | (((high >>> (i + 16)) & 1) << 4)) - 16);
  }
}

function q5_1(bytes: Uint8Array, at: number, out: Float32Array, to: number): void {
  const d = scaleAt(bytes, at);
  const m = scaleAt(bytes, at + 2);
  const high = fifthBits(bytes, at + 4);
  for (let i = 0; i < 16; i++) {
    const byte = bytes[at + 8 + i]!;
    out[to + i] = f32(d * ((byte & 15) | (((high >>> i) & 1) << 4))) + m;
    out[to + 16 + i] = f32(d * ((byte >> 4) | (((high >>> (i + 16)) & 1) << 4))) + m;
  }
}

/** Four bytes, bit i the fifth bit of value i. */
export function fifthBits(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
}

function q8_0(bytes: Uint8Array, at: number, out: Float32Array, to: number): void {
  const d = scaleAt(bytes, at);
  for (let i = 0; i < 32; i++) out[to + i] = ((bytes[at + 2 + i]! << 24) >> 24) * d;
}

/** d, dmin, 12 bytes of 6-bit scales and minima, 128 bytes: 8 groups of 32, the even ones in low halves, the odd in high. */
function q4_k(bytes: Uint8Array, at: number, out: Float32Array, to: number): void {
  const d = scaleAt(bytes, at);
  const dmin = scaleAt(bytes, at + 2);
  for (let group = 0; group < 8; group++) {
    const scale = f32(d * groupScale(bytes, at + 4, group));
    const minimum = f32(dmin * groupMinimum(bytes, at + 4, group));
    const from = at + 16 + 32 * (group >> 1);
    const shift = 4 * (group & 1);
    for (let i = 0; i < 32; i++) out[to + 32 * group + i] = f32(scale * ((bytes[from + i]! >> shift) & 15)) - minimum;
  }
}

/** As q4_k, with 32 bytes of fifth bits before the values: bit g of byte i for value i of group g. */
function q5_k(bytes: Uint8Array, at: number, out: Float32Array, to: number): void {
  const d = scaleAt(bytes, at);
  const dmin = scaleAt(bytes, at + 2);
  for (let group = 0; group < 8; group++) {
    const scale = f32(d * groupScale(bytes, at + 4, group));
    const minimum = f32(dmin * groupMinimum(bytes, at + 4, group));
    const from = at + 48 + 32 * (group >> 1);
    const shift = 4 * (group & 1);
    for (let i = 0; i < 32; i++) {
      const fifth = (bytes[at + 16 + i]! >> group) & 1;
      out[to + 32 * group + i] = f32(scale * (((bytes[from + i]! >> shift) & 15) | (fifth << 4))) - minimum;
    }
  }
}

/** 128 bytes of low halves, 64 of upper bit pairs, 16 signed scales (one a 16 values), d; minus 32. */
function q6_k(bytes: Uint8Array, at: number, out: Float32Array, to: number): void {
  const d = scaleAt(bytes, at + 208);
  for (let group = 0; group < 16; group++) {
    const scale = f32(d * ((bytes[at + 192 + group]! << 24) >> 24));
    // groups of 32 values (g) in two halves of 128: low halves for g 0 and 1, high for 2 and 3, 64 bytes a half
    const half = group >> 3;
    const g = (group >> 1) & 3;
    const within = 16 * (group & 1);
    const low = at + 64 * half + 32 * (g & 1) + within;
    const high = at + 128 + 32 * half + within;
    const lowShift = 4 * (g >> 1);
    const highShift = 2 * g;
    for (let i = 0; i < 16; i++) {
      const q = ((bytes[low + i]! >> lowShift) & 15) | (((bytes[high + i]! >> highShift) & 3) << 4);
      out[to + 16 * group + i] = scale * (q - 32);
    }
  }
}

/** 6-bit scale of a group: groups 0–3 in the low bits of bytes 0–3; 4–7 in low halves of bytes 8–11 with top bits of 0–3. */
export function groupScale(bytes: Uint8Array, at: number, group: number): number {
  return group < 4 ? bytes[at + group]! & 63 : (bytes[at + 4 + group]! & 15) | ((bytes[at + group - 4]! >> 2) & 48);
}

export function groupMinimum(bytes: Uint8Array, at: number, group: number): number {
  return group < 4 ? bytes[at + 4 + group]! & 63 : (bytes[at + 4 + group]! >> 4) | ((bytes[at + group]! >> 2) & 48);
}

export const DECODERS: Readonly<Record<Exclude<StoredType, 'f32' | 'f16' | 'bf16'>, BlockDecoder>> = {
  q4_0,
  q4_1,
  q5_0,
  q5_1,
  q8_0,
  q4_k,
  q5_k,
  q6_k,
};
