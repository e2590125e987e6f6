import { EspalierError } from '../../errors.ts';
import { checked, filled } from '../../options/check.ts';
import { callback, defaulting, either, oneOf, type Schema, signal, whole } from '../../options/rules.ts';
import { type Clustering, kMeans, MOST_CLUSTERS } from './k-means.ts';
import { type Points, pointsOf } from './points.ts';
import { Silhouettes } from './silhouette.ts';

/** Counts that are tried. */
const LEAST = 2;
export const MOST_DOMAINS = 8;

export interface SubDomainOptions {
  /** How many, or `auto`: that of 2 to 8 with the highest mean silhouette, the smaller of equals. Default `auto`. */
  readonly domains?: 'auto' | number;
  /** Of the draws of first centres. An integer from 0. Default 0. */
  readonly seed?: number;
  /** Starts for each count, of which the one with the least inertia counts. Default 10. */
  readonly restarts?: number;
  readonly signal?: AbortSignal;
  /** Counts that were tried, and in all. */
  readonly onProgress?: (done: number, total: number) => void;
}

export const subDomainOptions = {
  domains: defaulting(either(oneOf('auto'), whole(1, MOST_CLUSTERS)), 'auto'),
  seed: defaulting(whole(0), 0),
  restarts: defaulting(whole(1, 1000), 10),
  signal,
  onProgress: callback,
} as const satisfies Schema<SubDomainOptions>;

/** Samples in groups. */
export interface SubDomains {
  readonly count: number;
  /** [samples], domains numbered in the order of their first samples. */
  readonly assignments: Uint32Array;
  readonly sizes: readonly number[];
  /** Of a column: what it says. Else null. */
  readonly names: readonly string[] | null;
  /** Means of the vectors; of a column null. */
  readonly centres: readonly Float32Array[] | null;
  /** What was tried, with the sum of squared distances to the means, and the mean silhouette; null of one domain. */
  readonly tried: readonly { readonly count: number; readonly inertia: number; readonly silhouette: number | null }[];
}

/**
 * Groups samples by their vectors: k-means++ with restarts, seeded; for the same vectors the same groups in every runtime.
 * @param vectors one a sample, such as `embedExamples` makes
 * @throws E_ARGUMENT for vectors that differ in length or are not finite, and for more domains than there are different ones; E_ABORTED
 */
export async function subDomains(
  vectors: readonly ArrayLike<number>[],
  options: SubDomainOptions = {},
): Promise<SubDomains> {
  const given = filled(subDomainOptions, checked<SubDomainOptions>(subDomainOptions, options, 'subDomains'));
  const { domains, seed, restarts, signal, onProgress } = given;
  const points = pointsOf(vectors);
  const different = countDifferent(points, MOST_DOMAINS + 1);
  // a silhouette says nothing where every sample is alone
  const most = Math.min(MOST_DOMAINS, different, points.count - 1);
  const counts = domains !== 'auto' ? [domains] : Array.from({ length: most - LEAST + 1 }, (_, i) => LEAST + i);
  // all the same, or two
  if (counts.length === 0) counts.push(1);
  const silhouettes = counts.some((count) => count > 1) ? await Silhouettes.of(points, seed, signal) : null;
  const tried: { count: number; inertia: number; silhouette: number | null }[] = [];
  let best: { clustering: Clustering; silhouette: number } | null = null;
  for (const [i, count] of counts.entries()) {
    onProgress?.(i, counts.length);
    const clustering = await kMeans(points, count, { seed, restarts, signal });
    const silhouette = silhouettes?.mean(clustering.assignments, count) ?? null;
    tried.push({ count, inertia: clustering.inertia, silhouette });
    if (best === null || (silhouette ?? -1) > best.silhouette) best = { clustering, silhouette: silhouette ?? -1 };
  }
  onProgress?.(counts.length, counts.length);
  const { count, assignments, sizes, centres } = best!.clustering;
  const { width } = points;
  return {
    count,
    assignments,
    sizes,
    names: null,
    centres: Array.from({ length: count }, (_, c) => Float32Array.from(centres.subarray(c * width, (c + 1) * width))),
    tried,
  };
}

/** Groups samples by what a column says of each. @throws E_ARGUMENT where one says nothing */
export function subDomainsOf(labels: readonly unknown[]): SubDomains {
  const numbers = new Map<string, number>();
  const sizes: number[] = [];
  const assignments = Uint32Array.from(labels, (label, i) => {
    if ((typeof label !== 'string' && typeof label !== 'number') || label === '') {
      throw new EspalierError('E_ARGUMENT', `Sample ${i} has no domain.`, 'Give each a text or a number.');
    }
    const name = String(label);
    if (!numbers.has(name)) numbers.set(name, sizes.push(0) - 1);
    const own = numbers.get(name)!;
    sizes[own]!++;
    return own;
  });
  if (sizes.length === 0) throw new EspalierError('E_ARGUMENT', 'There are no samples.', 'Give one or more.');
  return { count: sizes.length, assignments, sizes, names: [...numbers.keys()], centres: null, tried: [] };
}

/** How many points are different; `most` where there are as many or more. */
function countDifferent({ values, count, width }: Points, most: number): number {
  const found: number[] = [];
  for (let i = 0; i < count && found.length < most; i++) {
    const isNew = found.every((other) => {
      for (let k = 0; k < width; k++) if (values[i * width + k] !== values[other * width + k]) return true;
      return false;
    });
    if (isNew) found.push(i);
  }
  return found.length;
}
