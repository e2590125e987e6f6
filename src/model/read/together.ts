import type { Tensor } from '../../device/device.ts';
import { exclusive } from '../../device/exclusive.ts';
import type { Decoder } from '../decoder.ts';
import type { KvCache } from '../kv-cache.ts';

/** Texts behind one another that go through a model together, `first` up to `end`. */
export interface Passing {
  readonly first: number;
  readonly end: number;
}

/**
 * Which texts go together where their hidden states are read: one at a time, but on a device that computes while it is told what, as many as fit a pass: there
 * the way to a short text and back takes longer than what it computes.
 * @param lengths in tokens
 */
export function passingOf(decoder: Decoder, lengths: readonly number[]): Passing[] {
  const list: Passing[] = [];
  let rows = 0;
  for (const [i, length] of lengths.entries()) {
    const last = list.at(-1);
    const joins = decoder.device.asynchronous && last && length > 0 && rows > 0 && rows + length <= decoder.chunk;
    rows = joins ? rows + length : length;
    list.splice(joins ? -1 : list.length, joins ? 1 : 0, { first: joins ? last.first : i, end: i + 1 });
  }
  return list;
}

/**
 * Normalised last hidden states of all rows of texts that go together, a chunk at a time.
 * @param caches for use again, more as they are needed; who has made the list disposes of them
 * @param take hidden [t, hidden], scratch, of rows from `row` on of these texts
 * @throws as `Decoder.forward`
 */
export function readTogether(
  decoder: Decoder,
  texts: readonly (readonly number[] | Int32Array)[],
  caches: KvCache[],
  take: (hidden: Tensor, row: number) => Promise<void>,
  {
    signal,
    onProgress,
  }: { readonly signal?: AbortSignal | undefined; readonly onProgress?: (rows: number) => void } = {},
): Promise<void> {
  return exclusive(decoder.device, async () => {
    while (caches.length < texts.length) caches.push(decoder.cache());
    for (const cache of caches) cache.truncate(0);
    if (texts.length === 1) {
      await decoder.forward(texts[0]!, caches[0]!, { signal, onProgress, onChunk: take });
      return;
    }
    const parts = texts.map((ids, i) => ({ ids: [...ids], cache: caches[i]! }));
    await decoder.forwardEach(parts, { signal, output: 'all', onOutput: (hidden) => take(hidden, 0) });
    onProgress?.(texts.reduce((sum, ids) => sum + ids.length, 0));
  });
}
