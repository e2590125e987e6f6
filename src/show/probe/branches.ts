import type { Tensor } from '../../device/device.ts';
import { EspalierError } from '../../errors.ts';
import type { Decoder } from '../../model/decoder.ts';
import type { KvCache } from '../../model/kv-cache.ts';
import { MOST_ROWS } from '../pool/encode.ts';
import type { BranchRows, RunForks, UseHidden } from '../types.ts';

/** Cache rows first .. end - 1. */
export interface Range {
  readonly first: number;
  readonly end: number;
}

/** Tokens that see some rows of the cache, and themselves. */
export interface Twig {
  readonly ids: readonly number[];
  /** Of the first token. */
  readonly position: number;
  /** Rows of shots. */
  readonly shots: Range;
  /** Other rows: the prefix, and what the twig forks from. Touching ranges count as one, and there may be two at most with the shots'. */
  readonly others: readonly Range[];
}

/** A twig that may have something of its own to go on from. */
export interface BranchPlan extends Twig {
  /** Appends what stands right before the branch and nobody else sees; its rows are among what the branch sees. */
  readonly before?: ((cache: KvCache) => void) | undefined;
}

export interface BranchOptions {
  /** Exponent on the shots' sum (APE's scale times temperature); 1: none. */
  readonly factor: number;
  /** Positions that there are, where that is fewer than the model has. */
  readonly limit?: number;
  readonly signal?: AbortSignal | undefined;
}

/** No row. */
const NEVER = 0x7fffffff;

/**
 * Runs branches beside each other behind what a cache holds, which holds the same afterwards. One forward pass for every 512 tokens. The
 * caller has the device to itself.
 * @throws E_CONTEXT_LENGTH, E_OUT_OF_MEMORY, E_ABORTED
 */
export async function runBranches<T>(
  decoder: Decoder,
  cache: KvCache,
  plans: readonly BranchPlan[],
  use: UseHidden<T>,
  options: BranchOptions,
): Promise<T> {
  const before = cache.length;
  try {
    const starts: Range[] = [];
    const twigs = plans.map(({ ids, position, shots, others, before: prepare }): Twig => {
      const first = cache.length;
      prepare?.(cache);
      const own = { first, end: cache.length };
      const end = cache.length + ids.length;
      hold(cache, position, ids.length);
      starts.push({ first, end });
      return { ids, position, shots, others: own.end > own.first ? [...others, own] : others };
    });
    const rows = starts.map(({ end }, i) => end - twigs[i]!.ids.length);
    const fork: RunForks = async (forks, useForks) => {
      const mark = cache.length;
      try {
        const more = forks.map(({ branch, ids }): Twig => {
          // what stands right before the branch is seen with it, as one range
          const { position, shots, others, ids: stem } = plans[branch]!;
          return { ids, position: position + stem.length, shots, others: [...others, starts[branch]!] };
        });
        const places = more.map(({ ids, position }) => {
          hold(cache, position, ids.length);
          return cache.length - ids.length;
        });
        return await runTwigs(decoder, cache, more, places, useForks, options);
      } finally {
        cache.truncate(mark);
      }
    };
    return await runTwigs(decoder, cache, twigs, rows, (hidden, list) => use(hidden, list, fork), options);
  } finally {
    cache.truncate(before);
  }
}

/** Rows that will be written by a forward pass. */
function hold(cache: KvCache, position: number, count: number): void {
  cache.reserve(cache.length + count);
  cache.advance(Array.from({ length: count }, (_, i) => position + i));
}

async function runTwigs<T>(
  decoder: Decoder,
  cache: KvCache,
  twigs: readonly Twig[],
  firstRows: readonly number[],
  use: (hidden: Tensor, twigs: readonly BranchRows[]) => Promise<T>,
  { factor, limit = decoder.config.maxPositions, signal }: BranchOptions,
): Promise<T> {
  const { device, config } = decoder;
  const { slidingWindow } = config;
  const last = twigs.reduce((most, { position, ids }) => Math.max(most, position + ids.length), 0);
  if (last > limit) {
    throw new EspalierError(
      'E_CONTEXT_LENGTH',
      `The query and what is asked behind it reach ${last} positions, and there are ${limit}.`,
      'Shorten the query, or place fewer shots.',
    );
  }
  const beyond = twigs.some(({ position, ids }) => slidingWindow !== null && position + ids.length > slidingWindow);
  const tokens = twigs.flatMap(({ ids, position, shots, others }, i) => {
    const self = firstRows[i]!;
    return ids.map((id, k) => {
      const own = self + k;
      const seen = factor === 1 ? [shots, ...others] : others;
      const least = position + k + 1 - (slidingWindow ?? Number.POSITIVE_INFINITY);
      const inWindow = (range: Range) => ({ first: firstFrom(cache, range, least), end: range.end });
      return {
        id,
        position: position + k,
        row: own,
        mask: maskOf(seen, self, own),
        windowMask: beyond ? maskOf(seen.map(inWindow), firstFrom(cache, { first: self, end: own }, least), own) : [],
        split: maskOf([shots], NEVER, own),
      };
    });
  });
  const hidden = device.tensor('f32', [tokens.length, config.hiddenSize]);
  try {
    for (let first = 0; first < tokens.length; first += MOST_ROWS) {
      const some = tokens.slice(first, first + MOST_ROWS);
      const split = { mask: Int32Array.from(some.flatMap((token) => token.split)), factor };
      await decoder.forward(
        some.map(({ id }) => id),
        cache,
        {
          signal,
          positions: some.map(({ position }) => position),
          rows: some.map(({ row }) => row),
          mask: Int32Array.from(some.flatMap(({ mask }) => mask)),
          windowMask: beyond ? Int32Array.from(some.flatMap(({ windowMask }) => windowMask)) : undefined,
          split: factor === 1 ? undefined : split,
          onChunk: (normed) => device.copyRows(normed, hidden, first),
        },
      );
    }
    let next = 0;
    const rows = twigs.map(({ ids }) => {
      next += ids.length;
      return { first: next - ids.length, count: ids.length };
    });
    const mark = device.mark();
    try {
      return await use(hidden, rows);
    } finally {
      device.reset(mark);
    }
  } finally {
    hidden.dispose();
  }
}

/** The first row of a range, in which positions rise, that stands at `least` or beyond. */
function firstFrom(cache: KvCache, { first, end }: Range, least: number): number {
  let row = first;
  while (row < end && cache.positions[row]! < least) row++;
  return row;
}

/** Six numbers of a row that sees ranges, and rows self .. own. */
function maskOf(ranges: readonly Range[], self: number, own: number): number[] {
  const joined: { first: number; end: number }[] = [];
  for (const { first, end } of ranges.filter((r) => r.end > r.first).sort((a, b) => a.first - b.first)) {
    const last = joined.at(-1);
    if (last && last.end === first) last.end = end;
    else joined.push({ first, end });
  }
  if (joined.length > 2) throw new Error('a mask has more ranges than a row can see');
  const [a = { first: 0, end: 0 }, b = { first: 0, end: 0 }] = joined;
  return [a.first, a.end, b.first, b.end, self, own];
}
