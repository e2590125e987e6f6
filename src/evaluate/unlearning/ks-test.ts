import { EspalierError } from '../../errors.ts';
import { checkedNumbers } from './numbers.ts';

/** Whether two samples may be of one distribution. */
export interface KsTest {
  /** Largest distance between the two empirical distribution functions, from 0 to 1. */
  readonly D: number;
  /** Probability of a distance that is at least as large by chance; 0 where it is below what a double holds (5e-324). */
  readonly p: number;
  /** Its decimal logarithm, which is right for those too. */
  readonly log10p: number;
  /** Values of the two samples. */
  readonly sizes: readonly [number, number];
}

/** Most values of samples of different sizes: their probability takes the product of the sizes. SciPy's bound for `auto`. */
const MOST = 10_000;
/** Below it a product is kept as a logarithm. */
const SMALL = 1e-290;

/**
 * The two-sample two-sided test of Kolmogorov and Smirnov, exact, as SciPy's `ks_2samp(method="exact")`, and never by the asymptotic formula, which
 * is far off where p is small. Equal values of both samples count together.
 *
 * Of equal sizes by the closed form (Gnedenko and Korolyuk 1951), else by the share of lattice paths that leave a band (Hodges 1958).
 * @throws E_ARGUMENT for what is no list of numbers, for NaN, and for samples of different sizes of which one has more than 10 000 values
 */
export function ksTest(first: ArrayLike<number>, second: ArrayLike<number>): KsTest {
  const a = checkedNumbers(first, 'The first values').sort();
  const b = checkedNumbers(second, 'The second values').sort();
  const [m, n] = [a.length, b.length];
  if (m !== n && Math.max(m, n) > MOST) {
    const hint = `Give as many of both, or at most ${MOST}.`;
    throw new EspalierError('E_ARGUMENT', `There are ${m} values against ${n}.`, hint);
  }
  const divisor = gcd(m, n);
  const band: Band = { m, n, up: n / divisor, down: m / divisor, distance: 0 };
  band.distance = largestDistance(a, b, band);
  const [p, log] = band.distance === 0 ? [1, 0] : m === n ? ofEqual(n, band.distance) : ofPaths(band);
  return {
    D: band.distance / (band.up * m),
    p: Math.min(1, p),
    log10p: Math.min(0, log / Math.LN10),
    sizes: [m, n],
  };
}

/**
 * Behind i values of the first sample and j of the second their distribution functions are `i · up - j · down` apart, in units of one over
 * the least common multiple of the sizes m and n: whole numbers, so that nothing is rounded.
 */
interface Band {
  readonly m: number;
  readonly n: number;
  readonly up: number;
  readonly down: number;
  distance: number;
}

/** A probability, and its natural logarithm. */
type Probability = readonly [value: number, log: number];

function largestDistance(a: Float64Array, b: Float64Array, { up, down }: Band): number {
  let [i, j, most] = [0, 0, 0];
  while (i < a.length && j < b.length) {
    const value = Math.min(a[i]!, b[j]!);
    while (i < a.length && a[i] === value) i++;
    while (j < b.length && b[j] === value) j++;
    most = Math.max(most, Math.abs(i * up - j * down));
  }
  return most;
}

/**
 * 2 Σₖ (-1)ᵏ⁻¹ C(2n, n - kh) / C(2n, n), k from 1 to n / h, as A₁ (1 - A₂ (1 - …)) with the ratios of successive terms, which cancels nothing.
 */
function ofEqual(n: number, h: number): Probability {
  let rest = 1;
  for (let k = Math.floor(n / h); k > 0; k--) rest = 1 - ratio(n, h, k)[0] * rest;
  const [first, log] = ratio(n, h, 0);
  return [2 * first * rest, Math.LN2 + log + Math.log(rest)];
}

/** C(2n, n - (k + 1) h) / C(2n, n - kh). */
function ratio(n: number, h: number, k: number): Probability {
  let [product, log] = [1, 0];
  for (let j = 0; j < h; j++) {
    product *= (n - k * h - j) / (n + k * h + j + 1);
    if (product > SMALL) continue;
    if (product <= 0) return [0, Number.NEGATIVE_INFINITY];
    log += Math.log(product);
    product = 1;
  }
  return log === 0 ? [product, Math.log(product)] : [Math.exp(log) * product, log + Math.log(product)];
}

/** Shares are kept as `mantissa · BLOCK ** exponent` with mantissas from 2^-256 to 2^256, so that they have no smallest. */
const BLOCK = 2 ** 512;
const LEAST = 2 ** -256;
/** Exponent of 0. */
const NONE = -(2 ** 30);

/**
 * Share of the paths from (0, 0) to (m, n) that come to the edge of the band. That of the paths to (i, j) is 1 outside and else the mean of
 * those to (i - 1, j) and (i, j - 1), weighed by i and j: sums of positive numbers, so that small shares keep their digits.
 */
function ofPaths(band: Band): Probability {
  const { n } = band;
  const mantissas = new Float64Array(n + 1).fill(1);
  const exponents = new Int32Array(n + 1);
  eachRow(band, (i, from, to) => {
    if (i === 0) {
      mantissas.fill(0, from, to + 1);
      exponents.fill(NONE, from, to + 1);
      return;
    }
    // outside, or of no weight
    let [left, leftExponent] = [1, from === 0 ? NONE : 0];
    for (let j = from; j <= to; j++) {
      const difference = exponents[j]! - leftExponent;
      const own = difference >= 0 ? mantissas[j]! : difference === -1 ? mantissas[j]! / BLOCK : 0;
      const other = difference <= 0 ? left : difference === 1 ? left / BLOCK : 0;
      left = (own * i + other * j) / (i + j);
      if (difference > 0) leftExponent = exponents[j]!;
      if (left < LEAST && left > 0) {
        left *= BLOCK;
        leftExponent--;
      }
      mantissas[j] = left;
      exponents[j] = leftExponent;
    }
  });
  const [mantissa, exponent] = [mantissas[n]!, exponents[n]!];
  const value =
    exponent < -2 ? 0 : exponent < -1 ? mantissa / BLOCK / BLOCK : exponent < 0 ? mantissa / BLOCK : mantissa;
  return [value, Math.log(mantissa) + exponent * Math.log(BLOCK)];
}

/** Every i from 0 to m with the first and last j that lie inside the band. */
function eachRow({ m, n, up, down, distance }: Band, run: (i: number, from: number, to: number) => void): void {
  for (let i = 0; i <= m; i++) {
    const from = Math.floor((i * up - distance) / down) + 1;
    const to = Math.ceil((i * up + distance) / down) - 1;
    run(i, Math.max(0, from), Math.min(n, to));
  }
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}
