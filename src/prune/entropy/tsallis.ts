import { EspalierError } from '../../errors.ts';

/** Closer to 1 than this a Tsallis entropy is Shannon's and the next term of its series in q - 1: the closed form cancels there. */
const NEAR = 1e-6;

/** What one pass over a row of logits says of its softmax p. */
export interface RowEntropies {
  readonly max: number;
  /** Natural log of Σ e^z. */
  readonly logSumExp: number;
  /** -Σ p ln p, in nats. */
  readonly shannon: number;
  /** (1 - Σ p^q) / (q - 1); Shannon's where q is 1. */
  readonly tsallis: number;
}

/**
 * Entropies of softmax(logits) in f64, from one pass: the reference that what devices compute is held against. With d = z - max, shifted as
 * the maximum grows, Σ p^q = e^(ln Σ e^(q d) - q ln Σ e^d) (Tsallis 1988 for the entropy).
 * @param logits one row; -∞ is a token that cannot come
 * @param q order, above 0
 * @throws E_TENSOR_VALUE for NaN, +∞, and where nothing is finite
 */
export function rowEntropies(logits: ArrayLike<number>, q: number): RowEntropies {
  let [max, sum, first, second, powers] = [Number.NEGATIVE_INFINITY, 0, 0, 0, 0];
  for (let i = 0; i < logits.length; i++) {
    const z = logits[i]!;
    if (z === Number.NEGATIVE_INFINITY) continue;
    if (z > max) {
      const shift = z - max;
      if (sum > 0) {
        const factor = Math.exp(-shift);
        // of the new d = the old - shift
        second = factor * (second - 2 * shift * first + shift * shift * sum);
        first = factor * (first - shift * sum);
        sum *= factor;
        powers *= Math.exp(-q * shift);
      }
      max = z;
    }
    const d = z - max;
    const e = Math.exp(d);
    sum += e;
    first += e * d;
    second += e * d * d;
    powers += Math.exp(q * d);
  }
  const logSum = Math.log(sum);
  const logSumExp = max + logSum;
  if (!Number.isFinite(logSumExp)) {
    throw new EspalierError(
      'E_TENSOR_VALUE',
      'Logits are not finite, or there are none.',
      'Try the exact precision, or another checkpoint.',
    );
  }
  // rounding must not make a certain token less than certain
  const shannon = Math.max(0, logSum - first / sum);
  // mean of ln² p
  const square = second / sum - (2 * logSum * first) / sum + logSum * logSum;
  const tsallis =
    Math.abs(q - 1) < NEAR
      ? shannon - ((q - 1) / 2) * square
      : Math.max(0, -Math.expm1(Math.log(powers) - q * logSum) / (q - 1));
  return { max, logSumExp, shannon, tsallis };
}

/** The Tsallis entropy of probabilities, Shannon's in nats for q = 1. */
export function tsallisEntropy(probabilities: ArrayLike<number>, q: number): number {
  return rowEntropies(Array.from(probabilities, Math.log), q).tsallis;
}

/** How many equally likely tokens have this entropy: 1 is a certain one. @param entropy below 1 / (q - 1) where q is above 1 */
export function effectiveTokens(entropy: number, q: number): number {
  return q === 1 ? Math.exp(entropy) : Math.exp(Math.log1p((1 - q) * entropy) / (1 - q));
}
