import type { StoredType } from '../types.ts';

/** Elements in a block and the bytes they take; plain numbers are blocks of one. */
export interface BlockSize {
  readonly elements: number;
  readonly bytes: number;
}

export const BLOCK_SIZE: Readonly<Record<StoredType, BlockSize>> = {
  f32: { elements: 1, bytes: 4 },
  f16: { elements: 1, bytes: 2 },
  bf16: { elements: 1, bytes: 2 },
  q4_0: { elements: 32, bytes: 18 },
  q4_1: { elements: 32, bytes: 20 },
  q5_0: { elements: 32, bytes: 22 },
  q5_1: { elements: 32, bytes: 24 },
  q8_0: { elements: 32, bytes: 34 },
  q4_k: { elements: 256, bytes: 144 },
  q5_k: { elements: 256, bytes: 176 },
  q6_k: { elements: 256, bytes: 210 },
};

/** Bytes of so many elements, a multiple of the block's. */
export function byteLengthOf(type: StoredType, elements: number): number {
  const block = BLOCK_SIZE[type];
  return (elements / block.elements) * block.bytes;
}

/** Product of the dimensions, or null when it is no safe integer or a dimension is no length. */
export function elementCount(shape: readonly unknown[]): number | null {
  let product = 1;
  let empty = false;
  for (const length of shape) {
    if (typeof length !== 'number' || !Number.isSafeInteger(length) || length < 0) return null;
    if (length === 0) empty = true;
    else product *= length;
    // checked at each step, zeros left out: a huge product times zero is still absurd
    if (product > Number.MAX_SAFE_INTEGER) return null;
  }
  return empty ? 0 : product;
}
