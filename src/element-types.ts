/** Elements of a block, and the bytes that it takes. Plain numbers are blocks of one. */
export interface BlockSize {
  readonly elements: number;
  readonly bytes: number;
}

/**
 * Every type that elements are stored in or computed with, by ggml's names in lower case. `q8_1` is ours, and no file has it: f16 scale,
 * f16 minimum, 32 codes of 8 bits (ggml's type of that name has a sum for a minimum).
 */
export const BLOCK_SIZE = {
  f32: { elements: 1, bytes: 4 },
  i32: { elements: 1, bytes: 4 },
  u32: { elements: 1, bytes: 4 },
  f16: { elements: 1, bytes: 2 },
  bf16: { elements: 1, bytes: 2 },
  i8: { elements: 1, bytes: 1 },
  q4_0: { elements: 32, bytes: 18 },
  q4_1: { elements: 32, bytes: 20 },
  q5_0: { elements: 32, bytes: 22 },
  q5_1: { elements: 32, bytes: 24 },
  q8_0: { elements: 32, bytes: 34 },
  q8_1: { elements: 32, bytes: 36 },
  q4_k: { elements: 256, bytes: 144 },
  q5_k: { elements: 256, bytes: 176 },
  q6_k: { elements: 256, bytes: 210 },
} as const satisfies Readonly<Record<string, BlockSize>>;

/** Bytes of so many elements, a multiple of the block's. */
export function byteLengthOf(type: keyof typeof BLOCK_SIZE, elements: number): number {
  const block = BLOCK_SIZE[type];
  return (elements / block.elements) * block.bytes;
}
