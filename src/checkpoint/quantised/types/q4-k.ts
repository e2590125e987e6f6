import { f32, groupMinimum, groupScale, scaleAt } from '../bits.ts';
import { splitGroups } from '../split-groups.ts';
import { byBlocks, type StoredKind } from '../stored-kind.ts';

/** d, dmin, 12 bytes of 6-bit scales and minima, 128 bytes: 8 groups of 32, the even ones in low halves, the odd in high. */
export const q4_k: StoredKind = {
  ggml: 12,
  values: byBlocks('q4_k', (bytes, at, out, to) => {
    const d = scaleAt(bytes, at);
    const dmin = scaleAt(bytes, at + 2);
    for (let group = 0; group < 8; group++) {
      const scale = f32(d * groupScale(bytes, at + 4, group));
      const minimum = f32(dmin * groupMinimum(bytes, at + 4, group));
      const from = at + 16 + 32 * (group >> 1);
      const shift = 4 * (group & 1);
      for (let i = 0; i < 32; i++) out[to + 32 * group + i] = f32(scale * ((bytes[from + i]! >> shift) & 15)) - minimum;
    }
  }),
  device: 'q4_1',
  repack: (bytes, out) => {
    splitGroups(bytes, out, { from: 'q4_k', into: 'q4_1', low: 16 }, (_at, _group, from, shift, to) => {
      const code = (i: number) => (bytes[from + i]! >> shift) & 15;
      for (let i = 0; i < 16; i++) out[to + i] = code(i) | (code(16 + i) << 4);
    });
  },
};
