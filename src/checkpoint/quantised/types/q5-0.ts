import { BLOCK_SIZE } from '../../../element-types.ts';
import { fifthBits, scaleAt } from '../bits.ts';
import { byBlocks, type StoredKind } from '../stored-kind.ts';

/** d, 32 fifth bits, then as q4_0; minus 16. */
export const q5_0: StoredKind = {
  ggml: 6,
  values: byBlocks('q5_0', (bytes, at, out, to) => {
    const d = scaleAt(bytes, at);
    const high = fifthBits(bytes, at + 2);
    for (let i = 0; i < 16; i++) {
      const byte = bytes[at + 6 + i]!;
      out[to + i] = d * (((byte & 15) | (((high >>> i) & 1) << 4)) - 16);
      out[to + 16 + i] = d * (((byte >> 4) | (((high >>> (i + 16)) & 1) << 4)) - 16);
    }
  }),
  device: 'q8_0',
  /** Exact: the same d, codes less 16. */
  repack: (bytes, out) => {
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
  },
};
