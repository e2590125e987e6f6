import type { BLOCK_SIZE } from '../../element-types.ts';
import type { StoredKind } from './stored-kind.ts';
import { bfloat16, float16, float32 } from './types/plain.ts';
import { q4_0 } from './types/q4-0.ts';
import { q4_1 } from './types/q4-1.ts';
import { q4_k } from './types/q4-k.ts';
import { q5_0 } from './types/q5-0.ts';
import { q5_1 } from './types/q5-1.ts';
import { q5_k } from './types/q5-k.ts';
import { q6_k } from './types/q6-k.ts';
import { q8_0 } from './types/q8-0.ts';

/** The element types that checkpoints are stored in, by GGUF's names in lower case. */
export const STORED_TYPES = {
  f32: float32,
  f16: float16,
  bf16: bfloat16,
  q4_0,
  q4_1,
  q5_0,
  q5_1,
  q8_0,
  q4_k,
  q5_k,
  q6_k,
} as const satisfies Readonly<Partial<Record<keyof typeof BLOCK_SIZE, StoredKind>>>;

/** The element types that checkpoints are stored in, by GGUF's names in lower case. */
export type StoredType = keyof typeof STORED_TYPES;

export const STORED_NAMES = Object.keys(STORED_TYPES) as readonly StoredType[];

export function storedKind(type: StoredType): StoredKind {
  return STORED_TYPES[type];
}
