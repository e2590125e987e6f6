import { quantile } from './split.ts';

/** How entropies of tokens are spread. */
export interface EntropyDistribution {
  readonly mean: number;
  /** Of the sample, n - 1. */
  readonly deviation: number;
  readonly least: number;
  readonly median: number;
  readonly most: number;
  /** Bins of equal width from 0 to the highest that was measured; each but the last without its upper edge. */
  readonly histogram: { readonly width: number; readonly counts: readonly number[] };
  /** Null below four values and where all are the same. */
  readonly bimodality: Bimodality | null;
}

export interface Bimodality {
  /**
   * Sarle's coefficient, (skewness² + 1) / (kurtosis + 3 (n - 1)² / ((n - 2)(n - 3))), up to 1. Above that of a uniform distribution a sample
   * may have two humps; a strongly skewed one with a single hump is above it, too.
   */
  readonly coefficient: number;
  /** Of a uniform distribution. */
  readonly uniform: number;
  /** Of the sample, corrected for its size (G1). */
  readonly skewness: number;
  /** Excess, corrected as well (G2). */
  readonly kurtosis: number;
}

/** @param values at least one */
export function distributionOf(values: ArrayLike<number>, bins = 40): EntropyDistribution {
  const sorted = Float64Array.from(values).sort();
  const n = sorted.length;
  const mean = sorted.reduce((sum, x) => sum + x, 0) / n;
  const most = sorted[n - 1]!;
  const width = most > 0 ? most / bins : 1;
  const counts = new Array<number>(bins).fill(0);
  for (const x of sorted) counts[Math.min(bins - 1, Math.max(0, Math.floor(x / width)))]!++;
  const [m2, m3, m4] = [2, 3, 4].map((power) => sorted.reduce((sum, x) => sum + (x - mean) ** power, 0) / n) as [
    number,
    number,
    number,
  ];
  return {
    mean,
    deviation: n > 1 ? Math.sqrt((m2 * n) / (n - 1)) : 0,
    least: sorted[0]!,
    median: quantile(sorted, 0.5),
    most,
    histogram: { width, counts },
    bimodality: n < 4 || sorted[0] === most ? null : bimodality(n, m2, m3, m4),
  };
}

/** From central moments of a sample. */
function bimodality(n: number, m2: number, m3: number, m4: number): Bimodality {
  const skewness = (Math.sqrt(n * (n - 1)) / (n - 2)) * (m3 / m2 ** 1.5);
  const kurtosis = ((n - 1) / ((n - 2) * (n - 3))) * ((n + 1) * (m4 / m2 ** 2 - 3) + 6);
  const coefficient = (skewness ** 2 + 1) / (kurtosis + (3 * (n - 1) ** 2) / ((n - 2) * (n - 3)));
  return { coefficient, uniform: 5 / 9, skewness, kurtosis };
}
