import { BLOCK_SIZE } from '../../element-types.ts';
import { groupMinimum, groupScale, scaleAt } from './bits.ts';
import { floatToHalf } from './half.ts';

/** Writes the 32 codes of a group of the block at `bytes[at…]` to `out[to…]`: their low four bits are `(bytes[from + i] >> shift) & 15`. */
type PutCodes = (at: number, group: number, from: number, shift: number, to: number) => void;

/**
 * Blocks of 256 (q4_k, q5_k) to blocks of 32 with a scale and a minimum of their own. Codes are kept; the group's scale and minimum, products of
 * f16 and 6 bits, are rounded to f16 (11 bits): per weight |error| <= c·max(2^-11·scale, 2^-25) + max(2^-11·minimum, 2^-25) with the
 * largest code c, 15 or 31, beside the roundings to f32 of either decoding (2^-23·(c·scale + minimum)).
 *
 * @param low where the low four bits of codes begin in a block
 */
export function splitGroups(
  bytes: Uint8Array,
  out: Uint8Array,
  types: { readonly from: 'q4_k' | 'q5_k'; readonly into: 'q4_1' | 'q8_1'; readonly low: number },
  put: PutCodes,
): void {
  const [size, step] = [BLOCK_SIZE[types.from].bytes, BLOCK_SIZE[types.into].bytes];
  for (let at = 0, to = 0; to < out.length; at += size) {
    const [d, dmin] = [scaleAt(bytes, at), scaleAt(bytes, at + 2)];
    for (let group = 0; group < 8; group++, to += step) {
      const scale = floatToHalf(Math.fround(d * groupScale(bytes, at + 4, group)));
      const minimum = floatToHalf(Math.fround(-dmin * groupMinimum(bytes, at + 4, group)));
      out[to] = scale;
      out[to + 1] = scale >> 8;
      out[to + 2] = minimum;
      out[to + 3] = minimum >> 8;
      put(at, group, at + types.low + 32 * (group >> 1), 4 * (group & 1), to + 4);
    }
  }
}
