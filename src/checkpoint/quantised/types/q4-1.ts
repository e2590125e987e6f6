import { f32, scaleAt } from '../bits.ts';
import { byBlocks, type StoredKind } from '../stored-kind.ts';

/** d, m, then as q4_0 without the offset: d·q + m. */
export const q4_1: StoredKind = {
  ggml: 3,
  values: byBlocks('q4_1', (bytes, at, out, to) => {
    const d = scaleAt(bytes, at);
    const m = scaleAt(bytes, at + 2);
    for (let i = 0; i < 16; i++) {
      const byte = bytes[at + 4 + i]!;
      out[to + i] = f32(d * (byte & 15)) + m;
      out[to + 16 + i] = f32(d * (byte >> 4)) + m;
    }
  }),
  device: 'q4_1',
  repack: null,
};
