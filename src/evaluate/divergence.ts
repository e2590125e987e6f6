import { mean, quantile } from './statistics.ts';

/** Divergences of several items. */
export interface DivergenceSummary {
  readonly items: number;
  readonly mean: number;
  readonly median: number;
  readonly p95: number;
  readonly largest: number;
}

/** Null where there is none. */
export function summarise(divergences: readonly number[]): DivergenceSummary | null {
  if (divergences.length === 0) return null;
  return {
    items: divergences.length,
    mean: mean(divergences),
    median: quantile(divergences, 0.5),
    p95: quantile(divergences, 0.95),
    largest: Math.max(...divergences),
  };
}
