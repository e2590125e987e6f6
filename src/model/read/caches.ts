/** Caches of texts that are read together and not gone on with. */
import type { Decoder } from '../decoder.ts';
import { type KvCache, LEAST_ROWS } from '../kv-cache.ts';

/** A cache for one of them. On a GPU it takes what it needs at once: of several without room each would take as much as the first. */
export function readingCache(decoder: Decoder, length: number): KvCache {
  return decoder.cache(decoder.device.asynchronous ? length : 0);
}

/** What a text counts of the rows of a pass: on a GPU, whose passes hold many, at least as many as its cache has. */
export function rowsInPass(decoder: Decoder, length: number): number {
  return decoder.device.asynchronous ? Math.max(LEAST_ROWS, length) : length;
}
