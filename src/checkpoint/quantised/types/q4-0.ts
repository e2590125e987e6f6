import { scaleAt } from '../bits.ts';
import { byBlocks, type StoredKind } from '../stored-kind.ts';

/** d, then 16 bytes: value i in the low half of byte i, value i + 16 in the high half; minus 8. */
export const q4_0: StoredKind = {
  ggml: 2,
  values: byBlocks('q4_0', (bytes, at, out, to) => {
    const d = scaleAt(bytes, at);
    for (let i = 0; i < 16; i++) {
      const byte = bytes[at + 2 + i]!;
      out[to + i] = d * ((byte & 15) - 8);
      out[to + 16 + i] = d * ((byte >> 4) - 8);
    }
  }),
  device: 'q4_0',
  repack: null,
};
