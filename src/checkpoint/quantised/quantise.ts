import { BLOCK_SIZE, byteLengthOf } from '../../element-types.ts';
import { EspalierError } from '../../errors.ts';
import { oneOf, type Rule } from '../../options/rules.ts';
import type { QuantisedKind } from './stored-kind.ts';
import { q4_0 } from './types/q4-0.ts';
import { q8_0 } from './types/q8-0.ts';

const QUANTISED_KINDS = { q8_0, q4_0 } as const satisfies Readonly<
  Partial<Record<keyof typeof BLOCK_SIZE, QuantisedKind>>
>;

/** The types that values can be rounded to. */
export type QuantisedType = keyof typeof QUANTISED_KINDS;

export const QUANTISED_TYPES = Object.keys(QUANTISED_KINDS) as readonly QuantisedType[];

export const quantisedType: Rule<QuantisedType> = oneOf(...QUANTISED_TYPES);

/**
 * Rounds values to blocks of a type; see `QuantisedKind.blocks`.
 * @throws E_SHAPE when they do not fill whole blocks
 */
export function quantise(type: QuantisedType, values: Float32Array): Uint8Array {
  const { elements } = BLOCK_SIZE[type];
  if (values.length % elements > 0) {
    throw new EspalierError(
      'E_SHAPE',
      `${values.length} values are no whole blocks of type ${type}.`,
      `Pass a multiple of ${elements}.`,
    );
  }
  const out = new Uint8Array(byteLengthOf(type, values.length));
  QUANTISED_KINDS[type].blocks(values, out);
  return out;
}
