import { halfTable } from '../half.ts';
import type { StoredKind } from '../stored-kind.ts';

/** Numbers by themselves, little-endian. */
export const float32: StoredKind = {
  ggml: 0,
  values: (bytes, out) => new Uint8Array(out.buffer).set(bytes),
  device: 'f32',
  repack: null,
};

export const float16: StoredKind = {
  ggml: 1,
  values: (bytes, out) => {
    const half = halfTable();
    for (let i = 0; i < out.length; i++) out[i] = half[bytes[2 * i]! | (bytes[2 * i + 1]! << 8)]!;
  },
  device: 'f16',
  repack: null,
};

export const bfloat16: StoredKind = {
  ggml: 30,
  values: (bytes, out) => {
    const bits = new Uint32Array(out.buffer);
    for (let i = 0; i < out.length; i++) bits[i] = (bytes[2 * i]! << 16) | (bytes[2 * i + 1]! << 24);
  },
  device: 'bf16',
  repack: null,
};
