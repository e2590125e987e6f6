import { BLOCK_SIZE } from '../../element-types.ts';
import { EspalierError } from '../../errors.ts';
import { type StoredType, storedKind } from './stored-types.ts';

/**
 * The values behind stored bytes, in f32; see `StoredKind.values`.
 *
 * @param bytes whole blocks
 * @param elements how many values they hold; a multiple of the type's block
 * @throws E_SHAPE when the two do not fit each other
 */
export function dequantise(type: StoredType, bytes: Uint8Array, elements: number): Float32Array {
  checkBlocks(type, bytes, elements);
  const out = new Float32Array(elements);
  storedKind(type).values(bytes, out);
  return out;
}

/** @throws E_SHAPE unless `bytes` are exactly the blocks of `elements` values */
export function checkBlocks(type: StoredType, bytes: Uint8Array, elements: number): void {
  const block = BLOCK_SIZE[type];
  if (elements % block.elements === 0 && bytes.byteLength === (elements / block.elements) * block.bytes) return;
  throw new EspalierError(
    'E_SHAPE',
    `${bytes.byteLength} bytes are not ${elements} values of type ${type}.`,
    `Pass whole blocks: ${block.elements} values in ${block.bytes} bytes.`,
  );
}
