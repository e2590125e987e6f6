import { BLOCK_SIZE, byteLengthOf } from '../../element-types.ts';
import { EspalierError } from '../../errors.ts';
import type { QuantisedType } from './quantised-types.ts';
import type { QuantisedKind } from './stored-kind.ts';
import { q4_0 } from './types/q4-0.ts';
import { q8_0 } from './types/q8-0.ts';

const QUANTISED_KINDS: Readonly<Record<QuantisedType, QuantisedKind>> = { q8_0, q4_0 };

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
