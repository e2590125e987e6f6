import { byteLengthOf } from '../../element-types.ts';
import { checkBlocks } from './dequantise.ts';
import { type StoredType, storedKind } from './stored-types.ts';

/**
 * Brings blocks into the type that devices compute with, as each type says of itself, with bounds of the error per weight against the exact
 * dequantised value. A scale that is not finite, or that leaves f16's range, stays or becomes so; the device reports it while loading.
 *
 * @param bytes whole blocks of `elements` values
 * @throws E_SHAPE when the two do not fit each other
 */
export function repackRows(type: StoredType, bytes: Uint8Array, elements: number): Uint8Array {
  checkBlocks(type, bytes, elements);
  const { device, repack } = storedKind(type);
  if (repack === null) return bytes;
  const out = new Uint8Array(byteLengthOf(device, elements));
  repack(bytes, out);
  return out;
}
