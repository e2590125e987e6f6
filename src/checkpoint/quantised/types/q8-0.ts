import { scaleAt } from '../bits.ts';
import { byBlocks, type StoredKind } from '../stored-kind.ts';

/** d, then 32 codes of 8 bits with a sign. */
export const q8_0: StoredKind = {
  ggml: 8,
  values: byBlocks('q8_0', (bytes, at, out, to) => {
    const d = scaleAt(bytes, at);
    for (let i = 0; i < 32; i++) out[to + i] = ((bytes[at + 2 + i]! << 24) >> 24) * d;
  }),
  device: 'q8_0',
  repack: null,
};
