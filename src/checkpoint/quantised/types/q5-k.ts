import { f32, groupMinimum, groupScale, scaleAt } from '../bits.ts';
import { splitGroups } from '../split-groups.ts';
import { byBlocks, type StoredKind } from '../stored-kind.ts';

/** As q4_k, with 32 bytes of fifth bits before the values: bit g of byte i for value i of group g. */
export const q5_k: StoredKind = {
  ggml: 13,
  values: byBlocks('q5_k', (bytes, at, out, to) => {
    const d = scaleAt(bytes, at);
    const dmin = scaleAt(bytes, at + 2);
    for (let group = 0; group < 8; group++) {
      const scale = f32(d * groupScale(bytes, at + 4, group));
      const minimum = f32(dmin * groupMinimum(bytes, at + 4, group));
      const from = at + 48 + 32 * (group >> 1);
      const shift = 4 * (group & 1);
      for (let i = 0; i < 32; i++) {
        const fifth = (bytes[at + 16 + i]! >> group) & 1;
        out[to + 32 * group + i] = f32(scale * (((bytes[from + i]! >> shift) & 15) | (fifth << 4))) - minimum;
      }
    }
  }),
  device: 'q8_1',
  repack: (bytes, out) => {
    splitGroups(bytes, out, { from: 'q5_k', into: 'q8_1', low: 48 }, (at, group, from, shift, to) => {
      for (let i = 0; i < 32; i++) {
        const fifth = (bytes[at + 16 + i]! >> group) & 1;
        out[to + i] = ((bytes[from + i]! >> shift) & 15) | (fifth << 4);
      }
    });
  },
};
