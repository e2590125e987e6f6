import type { Unit } from '../../src/show/pool/encode.ts';

/** A unit of one shot, of these tokens, that has no label. */
export const alone = (ids: readonly number[]): Unit => [{ ids, prompt: ids.length }];
