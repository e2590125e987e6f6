import { dequantise } from '../../src/checkpoint/quantised/dequantise.ts';
import { halfTable } from '../../src/checkpoint/quantised/half.ts';
import type { StoredType } from '../../src/checkpoint/types.ts';

/** Values of a type that devices compute with: those of files, and q8_1 (src/checkpoint/quantised/repack.ts), two roundings as ggml has for q5_1. */
export function dequantiseComputed(type: StoredType | 'q8_1', bytes: Uint8Array, elements: number): Float32Array {
  if (type !== 'q8_1') return dequantise(type, bytes, elements);
  const half = halfTable();
  const values = new Float32Array(elements);
  for (let i = 0; i < elements; i++) {
    const at = 36 * (i >> 5);
    const d = half[bytes[at]! | (bytes[at + 1]! << 8)]!;
    const m = half[bytes[at + 2]! | (bytes[at + 3]! << 8)]!;
    values[i] = Math.fround(d * ((bytes[at + 4 + (i & 31)]! << 24) >> 24)) + m;
  }
  return values;
}
