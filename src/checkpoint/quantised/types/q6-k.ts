import { BLOCK_SIZE } from '../../../element-types.ts';
import { f32, scaleAt } from '../bits.ts';
import { floatToHalf, halfTable } from '../half.ts';
import { type BlockDecoder, byBlocks, type StoredKind } from '../stored-kind.ts';

/** 128 bytes of low halves, 64 of upper bit pairs, 16 signed scales (one a 16 values), d; minus 32. */
const decode: BlockDecoder = (bytes, at, out, to) => {
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
};

export const q6_k: StoredKind = {
  ggml: 14,
  values: byBlocks('q6_k', decode),
  device: 'q8_0',
  /**
   * Each 32 values are quantised anew with d' = f16(d), d = max|w|/127, and the nearest code. Where d' is a normal f16 it is at least
   * d·(1 - 2^-11), so |w| <= 127.07·d', the clamp to ±127 costs less than 0.07·d', and |error| <= 0.5·d'. Where d' is subnormal it misses
   * d by at most 2^-25 and the clamp may cost 127 times that: |error| <= max(0.5·d', 127·2^-25 = 3.8e-6).
   */
  repack: (bytes, out) => {
    const values = new Float32Array(BLOCK_SIZE.q6_k.elements);
    for (let at = 0, to = 0; at < bytes.length; at += BLOCK_SIZE.q6_k.bytes) {
      decode(bytes, at, values, 0);
      for (let from = 0; from < values.length; from += 32, to += BLOCK_SIZE.q8_0.bytes) quantise(values, from, out, to);
    }
  },
};

function quantise(values: Float32Array, from: number, out: Uint8Array, to: number): void {
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
