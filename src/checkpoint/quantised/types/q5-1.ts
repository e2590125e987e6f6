import { BLOCK_SIZE } from '../../../element-types.ts';
import { f32, fifthBits, scaleAt } from '../bits.ts';
import { byBlocks, type StoredKind } from '../stored-kind.ts';

/** d, m, 32 fifth bits, then as q4_0 without the offset: d·q + m. */
export const q5_1: StoredKind = {
  ggml: 7,
  values: byBlocks('q5_1', (bytes, at, out, to) => {
    const d = scaleAt(bytes, at);
    const m = scaleAt(bytes, at + 2);
    const high = fifthBits(bytes, at + 4);
    for (let i = 0; i < 16; i++) {
      const byte = bytes[at + 8 + i]!;
      out[to + i] = f32(d * ((byte & 15) | (((high >>> i) & 1) << 4))) + m;
      out[to + 16 + i] = f32(d * ((byte >> 4) | (((high >>> (i + 16)) & 1) << 4))) + m;
    }
  }),
  device: 'q8_1',
  /** Exact: the same d, minimum and codes. */
  repack: (bytes, out) => {
    for (let at = 0, to = 0; to < out.length; at += BLOCK_SIZE.q5_1.bytes, to += BLOCK_SIZE.q8_1.bytes) {
      out.set(bytes.subarray(at, at + 4), to);
      const high = fifthBits(bytes, at + 4);
      for (let i = 0; i < 16; i++) {
        const byte = bytes[at + 8 + i]!;
        out[to + 4 + i] = (byte & 15) | (((high >>> i) & 1) << 4);
        out[to + 20 + i] = (byte >> 4) | (((high >>> (i + 16)) & 1) << 4);
      }
    }
  },
};
