import type { Tensor } from '../../device/device.ts';
import { exclusive } from '../../device/exclusive.ts';
import type { Decoder, EachOptions } from '../decoder.ts';
import { readingCache, rowsInPass } from './caches.ts';

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
    const own = length === 0 ? 0 : rowsInPass(decoder, length);
    const joins = decoder.device.asynchronous && last && own > 0 && rows > 0 && rows + own <= decoder.chunk;
    rows = joins ? rows + own : own;
    list.splice(joins ? -1 : list.length, joins ? 1 : 0, { first: joins ? last.first : i, end: i + 1 });
  }
  return list;
}

/**
 * Normalised last hidden states of all rows of several texts, in one pass, or with `output: 'last'` of the last of each.
 * @param take hidden [t, hidden], scratch
 * @throws as `Decoder.forwardEach`
 */
export function readTogether(
  decoder: Decoder,
  texts: readonly (readonly number[] | Int32Array)[],
  take: (hidden: Tensor) => Promise<void>,
  { signal, output = 'all' }: Pick<EachOptions, 'signal' | 'output'> = {},
): Promise<void> {
  return exclusive(decoder.device, async () => {
    const parts = texts.map((ids) => ({ ids: [...ids], cache: readingCache(decoder, ids.length) }));
    try {
      await decoder.forwardEach(parts, { signal, output, onOutput: take });
    } finally {
      for (const { cache } of parts) cache.dispose();
    }
  });
}
