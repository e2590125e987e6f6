import { EspalierError } from '../errors.ts';

/**
 * KL(p ‖ q) = Σ p ln(p / q) in nats, of two rows of log-probabilities (natural logs). Where p is 0 the term is 0; where q is 0 and p is
 * not it is infinite. What rounding makes of equal rows is never below 0.
 * @throws E_ARGUMENT for rows of different lengths, or empty ones; E_TENSOR_VALUE for NaN
 */
export function divergence(logP: ArrayLike<number>, logQ: ArrayLike<number>): number {
  if (logP.length !== logQ.length || logP.length === 0) {
    throw new EspalierError(
      'E_ARGUMENT',
      `A row of ${logP.length} meets one of ${logQ.length}.`,
      'Give two rows over the same tokens or labels.',
    );
  }
  let sum = 0;
  for (let i = 0; i < logP.length; i++) {
    const [a, b] = [logP[i]!, logQ[i]!];
    // NaN is below nothing either; without this it would be passed over as impossible
    if (!(a < Number.POSITIVE_INFINITY && b < Number.POSITIVE_INFINITY)) {
      throw noNumber('A log-probability is not a number.');
    }
    const p = Math.exp(a);
    if (p > 0) sum += p * (a - b);
  }
  return Math.max(0, sum);
}

/** Logits as log-probabilities, in f64. @throws E_TENSOR_VALUE for NaN, positive infinity, and where no logit is finite */
export function logSoftmax(logits: ArrayLike<number>): Float64Array {
  let top = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < logits.length; i++) top = Math.max(top, logits[i]!);
  let sum = 0;
  for (let i = 0; i < logits.length; i++) sum += Math.exp(logits[i]! - top);
  const shift = top + Math.log(sum);
  if (!Number.isFinite(shift)) throw noNumber('A logit is not finite.');
  return Float64Array.from(logits, (logit) => logit - shift);
}

/** The first of the largest. */
export function indexOfLargest(values: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i;
  return best;
}

function noNumber(message: string): EspalierError {
  return new EspalierError('E_TENSOR_VALUE', message, 'The model overflows on this text: look at its weights.');
}
