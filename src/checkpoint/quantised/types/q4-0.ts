import { f32, inverse, largestOf, putScale, scaleAt } from '../bits.ts';
import { byBlocks, intoBlocks, type QuantisedKind } from '../stored-kind.ts';

/** d, then 16 bytes: value i in the low half of byte i, value i + 16 in the high half; minus 8. */
export const q4_0: QuantisedKind = {
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
  // d is the value of largest magnitude / -8, so that this one is met; the others go to the nearest code, and what is above 15 to 15
  blocks: intoBlocks('q4_0', (values, from, bytes, at) => {
    const d = f32(largestOf(values, from) / -8);
    const inverted = inverse(d);
    const code = (i: number) => Math.min(15, f32(f32(values[from + i]! * inverted) + 8.5) | 0);
    putScale(bytes, at, d);
    for (let i = 0; i < 16; i++) bytes[at + 2 + i] = code(i) | (code(i + 16) << 4);
  }),
};
