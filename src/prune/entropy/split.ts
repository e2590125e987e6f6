import { highestEntropy } from '../../checkpoint/adapter/routing.ts';
import { EspalierError } from '../../errors.ts';
import { checked, filled } from '../../options/check.ts';
import { CUT, checkOneOf, type EntropyOptions, entropyOptions } from './options.ts';

/** Between these shares of high tokens a cut separates something; outside the percentile takes its place. */
const LEAST = 0.05;
const MOST = 0.6;
const PERCENTILE = 80;

/** Where high entropies begin, and how many are. */
export interface EntropySplit {
  readonly q: number;
  /** High is what is above it. */
  readonly cut: number;
  /** Where the cut comes from; `fallback`: the 80th percentile, because the cut that was asked for separates too little. */
  readonly rule: 'cut' | 'percentile' | 'fallback';
  /** What was asked for, and the share of the tokens above it; null where a percentile was. */
  readonly asked: { readonly cut: number; readonly share: number } | null;
  readonly percentile: number | null;
  /** The highest entropy of order q that the vocabulary has. */
  readonly highest: number;
  readonly tokens: number;
  readonly high: number;
  /** Of the tokens, from 0 to 1. */
  readonly share: number;
}

/**
 * Order and cut as they were given, or by default.
 * @throws E_ARGUMENT for a cut that no entropy of this vocabulary is above, with the largest that can be reached
 */
export function checkedCut(options: EntropyOptions, vocabSize: number): EntropyOptions & { readonly q: number } {
  const given = filled(entropyOptions, checked<EntropyOptions>(entropyOptions, options, 'entropies'));
  checkOneOf(given);
  const { q, cut, percentile } = given;
  const highest = highestEntropy(q, vocabSize);
  if (percentile !== undefined || (cut ?? CUT) < highest) return given;
  // for the cut that is the default another order helps, too
  const other = q > 1 ? `, a smaller \`q\`` : '';
  throw new EspalierError(
    'E_ARGUMENT',
    `No entropy of order ${q} over ${vocabSize} tokens is above ${cut ?? CUT}: the highest is ${rounded(highest)}.`,
    `Give \`cut\` below ${rounded(highest)}${other}, or \`percentile\`.`,
  );
}

/** Down, so that what is said can be given. */
const rounded = (x: number): number => Math.floor(x * 1e4) / 1e4;

/**
 * Divides the entropies of tokens into high and low.
 * @throws E_ARGUMENT as `checkedCut`, and where there are none
 */
export function splitEntropies(
  entropies: ArrayLike<number>,
  vocabSize: number,
  options: EntropyOptions = {},
): EntropySplit {
  const { q, cut = CUT, percentile, fallback = true } = checkedCut(options, vocabSize);
  const tokens = entropies.length;
  if (tokens === 0) throw new EspalierError('E_ARGUMENT', 'There is no token with an entropy.', 'Give a longer text.');
  const sorted = Float64Array.from(entropies).sort();
  const above = (x: number): number => tokens - countUpTo(sorted, x);
  const at = (p: number): number => quantile(sorted, p / 100);
  const made = (rule: EntropySplit['rule'], x: number, own: number | null): EntropySplit => {
    const high = above(x);
    const asked = rule === 'percentile' ? null : { cut, share: above(cut) / tokens };
    const highest = highestEntropy(q, vocabSize);
    return { q, cut: x, rule, asked, percentile: own, highest, tokens, high, share: high / tokens };
  };
  if (percentile !== undefined) return made('percentile', at(percentile), percentile);
  const share = above(cut) / tokens;
  if (!fallback || (share >= LEAST && share <= MOST)) return made('cut', cut, null);
  return made('fallback', at(PERCENTILE), PERCENTILE);
}

/** How many are not above x. */
function countUpTo(sorted: Float64Array, x: number): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sorted[middle]! <= x) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Between the two nearest, as NumPy does it. */
export function quantile(sorted: Float64Array, share: number): number {
  const place = share * (sorted.length - 1);
  const low = Math.floor(place);
  const high = Math.min(low + 1, sorted.length - 1);
  return sorted[low]! + (place - low) * (sorted[high]! - sorted[low]!);
}
