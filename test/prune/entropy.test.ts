/** Entropies against mpmath and the vectors of the specification; cuts, percentiles and Sarle's coefficient against NumPy and SciPy. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { highestEntropy } from '../../src/checkpoint/adapter/routing.ts';
import { distributionOf } from '../../src/prune/entropy/distribution.ts';
import { quantile, splitEntropies } from '../../src/prune/entropy/split.ts';
import { effectiveTokens, rowEntropies, tsallisEntropy } from '../../src/prune/entropy/tsallis.ts';
import { uniform } from '../../src/random.ts';
import { Worst } from '../device/devices.ts';
import { code } from '../errors.ts';
import { readJson } from '../files.ts';

interface Fixture {
  readonly orders: readonly number[];
  readonly rows: readonly {
    readonly stream: number;
    readonly length: number;
    readonly spread: number;
    readonly shift: number;
    readonly entropies: readonly number[];
  }[];
  readonly samples: readonly {
    readonly values: readonly number[];
    readonly mean: number;
    readonly deviation: number;
    readonly skewness: number;
    readonly kurtosis: number;
    readonly sarle: number;
    readonly percentiles: readonly number[];
  }[];
}

const { orders, rows, samples } = (await readJson('test/fixtures/prune.json')) as Fixture;
const worst = new Worst();
test.after(() => worst.print());
const near = (got: number, want: number, bound: number, what: string) => {
  const error = Math.abs(got - want);
  assert.ok(worst.within(what, error, bound), `${what}: ${got} for ${want}`);
};

test('the vectors of the specification', () => {
  const p = [0.5, 0.3, 0.2];
  for (const [q, want] of [
    [0.5, 1.40408587],
    [1, 1.02965301],
    [1.5, 0.78537425],
    [2, 0.62],
  ] as const) {
    near(tsallisEntropy(p, q), want, 5e-9, 'of probabilities');
  }
  const { tsallis, shannon } = rowEntropies([2, 1, 0.5, -1], 1.5);
  near(tsallis, 0.72521945, 5e-9, 'of logits');
  near(shannon, rowEntropies([2, 1, 0.5, -1], 1).tsallis, 0, 'order 1 is Shannon’s');
});

test('any order, near 1 too, any spread and place of logits', () => {
  for (const { stream, length, spread, shift, entropies } of rows) {
    const logits = Array.from({ length }, (_, i) => (uniform(11, i, stream) - 0.5) * spread + shift);
    for (const [i, q] of orders.entries()) {
      near(rowEntropies(logits, q).tsallis, entropies[i]!, 1e-9 * Math.max(1, entropies[i]!), 'against mpmath');
      // the order of tokens does not matter, nor those that cannot come
      const turned = [Number.NEGATIVE_INFINITY, ...logits.toReversed(), Number.NEGATIVE_INFINITY];
      near(rowEntropies(turned, q).tsallis, entropies[i]!, 1e-9 * Math.max(1, entropies[i]!), 'against mpmath');
    }
  }
});

test('certain rows have none, and what is not finite is refused', () => {
  for (const q of orders) {
    assert.is(rowEntropies([700, -700], q).tsallis < 1e-9, true);
    assert.is(rowEntropies([3], q).tsallis, 0);
    assert.is(rowEntropies([3, Number.NEGATIVE_INFINITY], q).shannon, 0);
  }
  for (const bad of [[], [Number.NaN, 1], [1, Number.NaN], [1, Number.POSITIVE_INFINITY], [Number.NEGATIVE_INFINITY]]) {
    assert.throws(() => rowEntropies(bad, 1.5), code('E_TENSOR_VALUE'));
  }
});

test('the highest entropy is a uniform row’s, and a number of equally likely tokens says one', () => {
  for (const q of orders) {
    for (const tokens of [2, 512, 4096]) {
      const highest = highestEntropy(q, tokens);
      near(rowEntropies(new Float64Array(tokens), q).tsallis, highest, 1e-9 * Math.max(1, highest), 'uniform');
      // far above 1 all but a few tokens are beyond what rounding leaves
      if (q < 2) near(effectiveTokens(highest, q) / tokens, 1, 1e-6, 'equally likely tokens');
    }
  }
  near(highestEntropy(1.5, 32000), 1.989, 5e-4, 'the table of the specification');
  near(effectiveTokens(1.2, 1.5), 6.25, 1e-9, 'the table of the specification');
});

test('a cut that cannot be reached is refused, with the largest that can', () => {
  const values = [0.1, 0.2, 0.9, 0.3];
  assert.throws(() => splitEntropies(values, 4096, { q: 2 }), code('E_ARGUMENT'));
  try {
    splitEntropies(values, 512, { q: 1.5, cut: 1.95 });
    assert.unreachable();
  } catch (error) {
    assert.match((error as Error).message, 'the highest is 1.9116');
  }
  assert.is(splitEntropies(values, 512, { q: 1.5, cut: 1.9116, fallback: false }).high, 0);
  assert.is(splitEntropies(values, 4096, { q: 2, percentile: 50 }).high, 2);
  assert.throws(() => splitEntropies(values, 512, { cut: 1, percentile: 3 }), code('E_ARGUMENT'));
  assert.throws(() => splitEntropies([], 512), code('E_ARGUMENT'));
  for (const q of [0, -1, Number.NaN, 101]) assert.throws(() => splitEntropies(values, 512, { q }), code('E_ARGUMENT'));
});

test('the cut holds where 5 to 60 % are above it; else the 80th percentile does', () => {
  const mixed = (high: number) => Array.from({ length: 100 }, (_, i) => (i < high ? 1.3 + i / 1000 : i / 1000));
  for (const high of [5, 30, 60]) {
    const { cut, rule, share, asked, tokens } = splitEntropies(mixed(high), 4096);
    assert.equal([cut, rule, share, tokens], [1.2, 'cut', high / 100, 100]);
    assert.equal(asked, { cut: 1.2, share: high / 100 });
  }
  for (const high of [0, 4, 61, 100]) {
    const values = mixed(high);
    const split = splitEntropies(values, 4096);
    assert.equal([split.rule, split.percentile, split.high], ['fallback', 80, 20]);
    assert.is(split.cut, quantile(Float64Array.from(values).sort(), 0.8));
    assert.equal(split.asked, { cut: 1.2, share: high / 100 });
    const held = splitEntropies(values, 4096, { fallback: false });
    assert.equal([held.rule, held.high], ['cut', high]);
  }
  // above it, not at it
  assert.is(splitEntropies([1.2, 1.2, 1.3], 4096).high, 1);
});

test('percentiles and spread as NumPy and SciPy have them', () => {
  for (const { values, percentiles, mean, deviation, skewness, kurtosis, sarle } of samples) {
    const sorted = Float64Array.from(values).sort();
    for (const [i, p] of [0, 12.5, 50, 80, 100].entries())
      near(quantile(sorted, p / 100), percentiles[i]!, 1e-15, 'percentile');
    const found = distributionOf(values);
    near(found.mean, mean, 1e-14, 'mean');
    near(found.deviation, deviation, 1e-14, 'deviation');
    near(found.bimodality!.skewness, skewness, 1e-10, 'skewness');
    near(found.bimodality!.kurtosis, kurtosis, 1e-10, 'kurtosis');
    near(found.bimodality!.coefficient, sarle, 1e-10, 'Sarle');
    assert.is(
      found.histogram.counts.reduce((sum, count) => sum + count),
      values.length,
    );
    assert.ok(Math.abs(found.histogram.width * 40 - found.most) < 1e-12);
  }
  assert.is(distributionOf([0.1, 0.1, 0.1, 0.1, 0.1]).bimodality, null);
  assert.is(distributionOf([1, 2, 3]).bimodality, null);
  assert.equal(distributionOf([0]).histogram.counts[0], 1);
});

test.run();
