import { allFinite } from '../checkpoint/finite.ts';
import { EspalierError } from '../errors.ts';
import { mean, quantile } from './statistics.ts';

/** Divergences of several items. */
export interface DivergenceSummary {
  readonly items: number;
  readonly mean: number;
  readonly median: number;
  readonly p95: number;
  readonly largest: number;
}

/** Null where there is none. @throws E_TENSOR_VALUE where one is no number */
export function summarise(divergences: readonly number[]): DivergenceSummary | null {
  if (divergences.length === 0) return null;
  if (!allFinite(divergences)) {
    throw new EspalierError(
      'E_TENSOR_VALUE',
      'A divergence is not finite.',
      'One of the two predictions that are compared overflows: look at the model.',
    );
  }
  return {
    items: divergences.length,
    mean: mean(divergences),
    median: quantile(divergences, 0.5),
    p95: quantile(divergences, 0.95),
    largest: divergences.reduce((most, one) => Math.max(most, one)),
  };
}
