import { f32, inverse, largestOf, putScale, scaleAt } from '../bits.ts';
import { byBlocks, intoBlocks, type QuantisedKind } from '../stored-kind.ts';

/** d, then 32 codes of 8 bits with a sign. */
export const q8_0: QuantisedKind = {
  ggml: 8,
  values: byBlocks('q8_0', (bytes, at, out, to) => {
    const d = scaleAt(bytes, at);
    for (let i = 0; i < 32; i++) out[to + i] = ((bytes[at + 2 + i]! << 24) >> 24) * d;
  }),
  device: 'q8_0',
  repack: null,
  // d is the largest magnitude / 127, a code the nearest multiple, halves away from 0
  blocks: intoBlocks('q8_0', (values, from, bytes, at) => {
    const d = f32(Math.abs(largestOf(values, from)) / 127);
    const inverted = inverse(d);
    putScale(bytes, at, d);
    for (let i = 0; i < 32; i++) {
      const x = f32(values[from + i]! * inverted);
      bytes[at + 2 + i] = Math.sign(x) * Math.floor(Math.abs(x) + 0.5);
    }
  }),
};
