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
/** Below it a double loses digits. */
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

/**
 * Share of the paths from (0, 0) to (m, n) that come to the edge of the band. That of the paths to (i, j) is 1 outside and else the mean of
 * those to (i - 1, j) and (i, j - 1), weighed by i and j: sums of positive numbers, so that small shares keep their digits.
 */
function ofPaths(band: Band): Probability {
  const { n } = band;
  const shares = new Float64Array(n + 1).fill(1);
  eachRow(band, (i, from, to) => {
    let left = 1;
    for (let j = from; j <= to; j++) {
      left = i + j === 0 ? 0 : (shares[j]! * i + left * j) / (i + j);
      shares[j] = left;
    }
  });
  const share = shares[n]!;
  return share > SMALL ? [share, Math.log(share)] : ofLogarithms(band);
}

/** The same of logarithms: slower, without a smallest number. */
function ofLogarithms(band: Band): Probability {
  const { m, n } = band;
  const logs = Float64Array.from({ length: m + n + 1 }, (_, i) => Math.log(i));
  const shares = new Float64Array(n + 1);
  eachRow(band, (i, from, to) => {
    let left = 0;
    for (let j = from; j <= to; j++) {
      const [above, beside] = [shares[j]! + logs[i]!, left + logs[j]!];
      const most = Math.max(above, beside);
      const none = i + j === 0 || most === Number.NEGATIVE_INFINITY;
      left = none
        ? Number.NEGATIVE_INFINITY
        : most + Math.log1p(Math.exp(Math.min(above, beside) - most)) - logs[i + j]!;
      shares[j] = left;
    }
  });
  return [Math.exp(shares[n]!), shares[n]!];
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
