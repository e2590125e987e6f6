/** Figures of an evaluation, held against scikit-learn, SciPy and NumPy with the same random numbers. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { summarise } from '../../src/evaluate/divergence.ts';
import {
  agreement,
  bootstrap,
  type Interval,
  macroF1,
  mean,
  meanInterval,
  pairedDifference,
  quantile,
} from '../../src/evaluate/statistics.ts';
import { divergence, logSoftmax } from '../../src/model/divergence.ts';
import { Worst } from '../device/devices.ts';
import { code } from '../errors.ts';
import { readJson } from '../files.ts';

const fixture = await readJson('test/fixtures/evaluate.json');
const worst = new Worst();

function near(name: string, got: number, want: number, bound = 1e-12): void {
  assert.ok(worst.within(name, Math.abs(got - want), bound), `${name}: ${got}, not ${want}`);
}

function same(name: string, got: Interval, want: Interval): void {
  for (const part of ['value', 'low', 'high'] as const) near(name, got[part], want[part]);
}

const { truth, predicted, rival, ...want } = fixture.labels;
const hits = (list: readonly number[]) => list.map((label, i) => (label === truth[i] ? 1 : 0));

test('accuracy and macro-F1', () => {
  near('accuracy', agreement(truth, predicted), want.accuracy);
  near('macro-F1', macroF1(truth, predicted), want.f1);
  assert.is(macroF1(['a', 'b'], ['a', 'b']), 1);
  assert.is(macroF1(['a', 'a', 'b', 'b'], ['a', 'a', 'a', 'a']), 1 / 3); // b never predicted: (2/3 + 0) / 2
  for (const measure of [agreement, macroF1]) {
    assert.throws(() => measure([1], [1, 2]), code('E_ARGUMENT'));
    assert.throws(() => measure([], []), code('E_ARGUMENT'));
  }
});

test('bootstrap intervals are NumPy’s for the same draws', () => {
  same('interval of accuracy', meanInterval(hits(predicted), want.accuracyInterval), want.accuracyInterval);
  const { f1Interval } = want;
  const pick = (list: readonly number[], at: Int32Array) => Array.from(at, (i) => list[i]!);
  const statistic = (at: Int32Array) => macroF1(pick(truth, at), pick(predicted, at));
  same('interval of macro-F1', bootstrap(truth.length, statistic, f1Interval), f1Interval);
  same('paired difference', pairedDifference(hits(predicted), hits(rival), want.difference), want.difference);
});

test('the defaults are 1000 resamples, 95 % and seed 0, and the seed matters', () => {
  same('interval of accuracy', meanInterval(hits(predicted)), want.accuracyInterval);
  const values = fixture.quantiles.values;
  assert.is.not(meanInterval(values).low, meanInterval(values, { seed: 1 }).low);
  assert.equal(meanInterval([2, 2, 2]), { value: 2, low: 2, high: 2 });
});

test('bootstrap refuses what it cannot draw', () => {
  assert.throws(() => meanInterval([]), code('E_ARGUMENT'));
  assert.throws(() => meanInterval([1], { resamples: 0 }), code('E_ARGUMENT'));
  assert.throws(() => meanInterval([1], { level: 1 }), code('E_ARGUMENT'));
  assert.throws(() => pairedDifference([1], [1, 2]), code('E_ARGUMENT'));
});

test('quantiles', () => {
  const { values, at, want } = fixture.quantiles;
  for (const [i, q] of at.entries()) near('quantile', quantile(values, q), want[i]);
  assert.ok(Number.isNaN(quantile([], 0.5)));
  assert.is(quantile([4], 0.975), 4);
});

test('divergence', () => {
  for (const { a, b, want } of fixture.divergences) {
    const got = divergence(logSoftmax(a), logSoftmax(b));
    near('KL, relative', got / want, 1);
    assert.is(divergence(logSoftmax(a), logSoftmax(a)), 0);
    assert.is.not(got, divergence(logSoftmax(b), logSoftmax(a)));
  }
  const none = Number.NEGATIVE_INFINITY;
  assert.is(divergence([0, none], [Math.log(0.5), Math.log(0.5)]), Math.log(2));
  assert.is(divergence([Math.log(0.5), Math.log(0.5)], [0, none]), Number.POSITIVE_INFINITY);
  assert.throws(() => divergence([0], [0, 0]), code('E_ARGUMENT'));
});

test('divergences in sum', () => {
  assert.is(summarise([]), null);
  assert.equal(summarise([1, 3, 2]), { items: 3, mean: 2, median: 2, p95: 2.9, largest: 3 });
  assert.is(mean([1, 2, 6]), 3);
});

test('figures of what is no number are none', () => {
  for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) {
    assert.throws(() => summarise([0.1, bad]), code('E_TENSOR_VALUE'));
    assert.throws(() => meanInterval([0.1, bad]), code('E_ARGUMENT'));
    assert.throws(() => pairedDifference([0.1, bad], [0, 0]), code('E_ARGUMENT'));
  }
  const many = Array.from({ length: 200_000 }, (_, i) => i / 200_000);
  assert.is(summarise(many)!.largest, many.at(-1));
});

test.after(() => worst.print());
test.run();
