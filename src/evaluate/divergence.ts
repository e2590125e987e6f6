import { EspalierError } from '../errors.ts';
import { mean, quantile } from './statistics.ts';

/**
 * KL(p ‖ q) = Σ p ln(p / q) in nats, of two rows of log-probabilities (natural logs). Where p is 0 the term is 0; where q is 0 and p is
 * not it is infinite. What rounding makes of equal rows is never below 0.
 * @throws E_ARGUMENT for rows of different lengths
 */
export function divergence(logP: ArrayLike<number>, logQ: ArrayLike<number>): number {
  if (logP.length !== logQ.length) {
    throw new EspalierError(
      'E_ARGUMENT',
      `A row of ${logP.length} meets one of ${logQ.length}.`,
      'Give two rows over the same tokens or labels.',
    );
  }
  let sum = 0;
  for (let i = 0; i < logP.length; i++) {
    const p = Math.exp(logP[i]!);
    if (p > 0) sum += p * (logP[i]! - logQ[i]!);
  }
  return Math.max(0, sum);
}

/** Logits as log-probabilities, in f64. */
export function logSoftmax(logits: ArrayLike<number>): Float64Array {
  let top = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < logits.length; i++) top = Math.max(top, logits[i]!);
  let sum = 0;
  for (let i = 0; i < logits.length; i++) sum += Math.exp(logits[i]! - top);
  const shift = top + Math.log(sum);
  return Float64Array.from(logits, (logit) => logit - shift);
}

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
