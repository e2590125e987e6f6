import { EspalierError } from '../errors.ts';
import { whole } from '../options/rules.ts';
import { uniform } from '../random.ts';
import type { BootstrapOptions } from './options.ts';

/** A figure with its interval. */
export interface Interval {
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

/** Tells draws of the bootstrap from others with the same seed. */
const STREAM = 80;

/** Share of places where the two agree. @throws E_ARGUMENT for lists of different lengths, or empty ones */
export function agreement<T>(a: readonly T[], b: readonly T[]): number {
  checkPair(a.length, b.length);
  return a.reduce((count, value, i) => count + (value === b[i] ? 1 : 0), 0) / a.length;
}

/**
 * Mean over classes of F1 = 2 · hits / (times predicted + times true); a class that was predicted and was true never has 0. Classes
 * are those that occur in either list.
 * @throws E_ARGUMENT for lists of different lengths, or empty ones
 */
export function macroF1<T>(truth: readonly T[], predicted: readonly T[]): number {
  checkPair(truth.length, predicted.length);
  const counts = new Map<T, { hits: number; total: number }>();
  const of = (label: T) => {
    let entry = counts.get(label);
    if (!entry) counts.set(label, (entry = { hits: 0, total: 0 }));
    return entry;
  };
  for (const [i, label] of truth.entries()) {
    of(label).total++;
    of(predicted[i]!).total++;
    if (label === predicted[i]) of(label).hits++;
  }
  let sum = 0;
  for (const { hits, total } of counts.values()) sum += (2 * hits) / total;
  return sum / counts.size;
}

export function mean(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]!;
  return sum / values.length;
}

/** The quantile q of values, linear between neighbours (NumPy's default). NaN where there are none. */
export function quantile(values: ArrayLike<number>, q: number): number {
  const sorted = Float64Array.from(values).sort();
  if (sorted.length === 0) return Number.NaN;
  const at = q * (sorted.length - 1);
  const below = sorted[Math.floor(at)]!;
  return below + (at - Math.floor(at)) * (sorted[Math.ceil(at)]! - below);
}

/**
 * A statistic of items and its percentile bootstrap interval (Efron and Tibshirani 1993): items are drawn with replacement, as many as
 * there are. Draw i of resample r is item ⌊n · u⌋ of the counter r · n + i, so it is the same in every runtime.
 *
 * @param count items
 * @param statistic of the items with these indices
 * @throws E_ARGUMENT where there is no item, where the statistic is no number, and for options outside their range
 */
export function bootstrap(
  count: number,
  statistic: (indices: Int32Array) => number,
  options: BootstrapOptions = {},
): Interval {
  const { resamples = 1000, level = 0.95, seed = 0 } = options;
  if (count < 1) throw new EspalierError('E_ARGUMENT', 'There is no item to draw.', 'Give one or more.');
  if (!Number.isInteger(resamples) || resamples < 1 || !(level > 0 && level < 1)) {
    throw new EspalierError(
      'E_ARGUMENT',
      `${resamples} resamples with the level ${level} are asked for.`,
      'Give an integer above 0, and a level between 0 and 1.',
    );
  }
  const indices = Int32Array.from({ length: count }, (_, i) => i);
  const value = statistic(indices);
  if (!Number.isFinite(value)) {
    throw new EspalierError('E_ARGUMENT', `The statistic is ${value}.`, 'Leave out items whose value is no number.');
  }
  const found = Float64Array.from({ length: resamples }, (_, r) => {
    for (let i = 0; i < count; i++) indices[i] = Math.floor(count * uniform(seed, r * count + i, STREAM));
    return statistic(indices);
  });
  return { value, low: quantile(found, (1 - level) / 2), high: quantile(found, (1 + level) / 2) };
}

/** Mean of values with its interval. */
export function meanInterval(values: ArrayLike<number>, options?: BootstrapOptions): Interval {
  return bootstrap(values.length, (indices) => meanOf(values, indices), options);
}

/**
 * Mean of a - b over the same items, with its interval: whether one way is better than another on these items. The difference is
 * significant at 1 - level where the interval does not hold 0.
 * @throws E_ARGUMENT for lists of different lengths, or empty ones
 */
export function pairedDifference(a: ArrayLike<number>, b: ArrayLike<number>, options?: BootstrapOptions): Interval {
  checkPair(a.length, b.length);
  const differences = Float64Array.from({ length: a.length }, (_, i) => a[i]! - b[i]!);
  return meanInterval(differences, options);
}

/**
 * Exact McNemar test of two ways of answering the same items (McNemar 1947; of small counts, the sign test): of the items that one alone has right,
 * how likely a split at least as uneven is by tosses of a coin. p = min(1, 2 · Σ_{k ≤ min(a, b)} C(a + b, k) / 2^(a + b)).
 *
 * @param onlyA items that only the first has right, and the second
 * @returns p, two-sided; 1 where they never differ
 * @throws E_ARGUMENT for what are no counts
 */
export function mcnemar(onlyA: number, onlyB: number): number {
  for (const count of [onlyA, onlyB]) whole(0).check(count, 'A count of items');
  const n = onlyA + onlyB;
  // in logarithms, since 2^-n is 0 from 1075 on
  let log = -n * Math.LN2;
  let sum = 0;
  for (let k = 0; k <= Math.min(onlyA, onlyB); k++) {
    sum += Math.exp(log);
    log += Math.log((n - k) / (k + 1));
  }
  return Math.min(1, 2 * sum);
}

function meanOf(values: ArrayLike<number>, indices: Int32Array): number {
  let sum = 0;
  for (const i of indices) sum += values[i]!;
  return sum / indices.length;
}

function checkPair(a: number, b: number): void {
  if (a === b && a > 0) return;
  throw new EspalierError('E_ARGUMENT', `There are ${a} values against ${b}.`, 'Give two lists of the same items.');
}
