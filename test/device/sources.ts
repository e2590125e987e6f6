/** Weights as a file holds them, with random content. */
import { floatToHalf } from '../../src/checkpoint/quantised/half.ts';
import type { WeightSource } from '../../src/device/device.ts';
import { noise, randomF32 } from './reference.ts';

export type Stored = 'f32' | 'bf16' | 'f16' | 'q8_0' | 'q8_1' | 'q4_0' | 'q4_1';

/** A random matrix [n, k] as a file holds it. */
export function stored(type: Stored, n: number, k: number, seed: number): WeightSource {
  const values = randomF32(n * k, seed);
  let bytes = new Uint8Array(values.buffer);
  if (type === 'bf16') bytes = new Uint8Array(Uint16Array.from(new Uint32Array(values.buffer), (v) => v >>> 16).buffer);
  else if (type === 'f16') bytes = new Uint8Array(Uint16Array.from(values, floatToHalf).buffer);
  else if (type !== 'f32') {
    const size = { q8_0: 34, q8_1: 36, q4_0: 18, q4_1: 20 }[type];
    bytes = new Uint8Array(((n * k) / 32) * size);
    const next = noise(seed);
    const view = new DataView(bytes.buffer);
    const unit = 8 ** (seed % 3); // so that each of a stack has a power of two of its own
    for (let at = 0; at < bytes.length; at += size) {
      for (let i = 2; i < size; i++) bytes[at + i] = (next() + 1) * 128;
      view.setUint16(at, floatToHalf(0.01 * unit * (1.5 + next())), true);
      if (type.endsWith('_1')) view.setUint16(at + 2, floatToHalf(-0.07 * unit * (1.5 + next())), true);
    }
  }
  const row = bytes.length / n;
  return {
    name: `w${seed}`,
    type,
    rows: n,
    columns: k,
    order: null,
    orderGroup: 1,
    read: async (first, target) => target.set(bytes.subarray(first * row, first * row + target.length)),
  };
}
