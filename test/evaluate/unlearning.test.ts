/** Measures of unlearning against SciPy (test/oracles/unlearning.py) and the figures of published logs. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { variety } from '../../src/evaluate/unlearning/fluency.ts';
import { type KsTest, ksTest } from '../../src/evaluate/unlearning/ks-test.ts';
import {
  answerProbability,
  forgetQuality,
  modelUtility,
  normalisedProbability,
  similarityGap,
  truthRatio,
  truthRatioScore,
} from '../../src/evaluate/unlearning/measures.ts';
import { exactMemorisation, extractionStrength } from '../../src/evaluate/unlearning/memorisation.ts';
import { areaUnderCurve, minK, privLeak } from '../../src/evaluate/unlearning/privacy.ts';
import { code } from '../errors.ts';
import { readJson } from '../files.ts';

const fixture = await readJson('test/fixtures/unlearning.json');
let worst = 0;
function near(got: number, want: number, tolerance: number, where = ''): void {
  const error = Math.abs(got - want) / (Math.abs(want) || 1);
  assert.ok(error <= tolerance, `${where} ${got} against ${want}`);
  worst = Math.max(worst, error);
}

test('Kolmogorov and Smirnov: equal and unequal sizes, ties, one value', () => {
  for (const { a, b, D, p, log10p } of fixture.ks) {
    const where = `${a.length} against ${b.length}`;
    for (const found of [ksTest(a, b), ksTest(b, a), ksTest(a.slice().reverse(), Float64Array.from(b))]) {
      near(found.D, D, 1e-14, where);
      near(found.p, p, 1e-11, where);
      assert.ok(Math.abs(found.log10p - log10p) < 1e-11, `${where} ${found.log10p} against ${log10p}`);
      assert.is(found.log10p <= 0 && found.p <= 1, true);
    }
  }
  console.log(`  worst relative difference from SciPy: ${worst.toExponential(1)} of 1e-11`);
});

test('probabilities below what a double holds have their logarithm', () => {
  for (const { sizes, log10p } of fixture.far) {
    const [low, high] = sizes.map((count: number, i: number) => Array.from({ length: count }, (_, k) => k + 1000 * i));
    const found = ksTest(low, high);
    near(found.log10p, log10p, 1e-12, sizes.join());
    if (log10p > -300) near(found.p, 10 ** log10p, 1e-9);
    else assert.ok(found.p >= 0 && found.p < 1e-300, `${found.p}`);
  }
  // all of the 4000 are apart: 2 / C(8000, 4000)
  const found = ksTest(
    Array.from({ length: 4000 }, (_, i) => i),
    Array.from({ length: 4000 }, (_, i) => -1 - i),
  );
  assert.is(found.D, 1);
  assert.is(found.p, 0);
  near(found.log10p, -2405.889316812472, 1e-12);
});

/** Two samples of n whose distribution functions are h / n apart. */
function apart(n: number, h: number): KsTest {
  const a = Array.from({ length: n }, (_, i) => i);
  return forgetQuality(
    a,
    a.map((value) => value + h),
  );
}

test('forget quality of published logs', () => {
  near(apart(400, 140).p, 3.9054714e-22, 5e-8);
  near(apart(200, 74).p, 1.42757e-12, 5e-8);
  near(apart(40, 15).p, 6.7607323e-3, 5e-8);
  near(apart(400, 134).p, 2.8138576976529647e-20, 1e-9);
  assert.is(apart(400, 140).D, 0.35);
  assert.equal(apart(9, 0), { D: 0, p: 1, log10p: 0, sizes: [9, 9] });
  near(ksTest(Array(400).fill(0), Array(400).fill(1)).p, 1.0635896769518568e-239, 1e-12);
});

test('what is no sample is refused', () => {
  for (const wrong of [[], null, 'a', [Number.NaN], [1, '2'], [1, undefined], new Float64Array(0), 5]) {
    assert.throws(() => ksTest(wrong as never, [1]), code('E_ARGUMENT'), `${wrong}`);
    assert.throws(() => ksTest([1], wrong as never), code('E_ARGUMENT'), `${wrong}`);
  }
  const many = new Float64Array(10_001);
  assert.throws(() => ksTest(many, [1]), code('E_ARGUMENT'));
  assert.is(ksTest(many, many).p, 1);
  assert.is(ksTest([Number.POSITIVE_INFINITY, 1], [Number.POSITIVE_INFINITY, 1]).p, 1);
});

test('model utility: the harmonic mean, 0 where one is 0', () => {
  for (const { figures, mean } of fixture.means) near(modelUtility(figures), mean, 1e-14);
  const published = [
    [0.88041082, 0.83005874, 0.51391588],
    [0.39226354, 0.8295, 0.50345871],
    [0.42885051, 0.8022792, 0.61750209],
  ].flat();
  near(modelUtility(published), 0.5911246639, 1e-9);
  assert.is(modelUtility([1, 0, 1]), 0);
  for (const wrong of [[], [Number.NaN], [-1, 1], null]) {
    assert.throws(() => modelUtility(wrong as never), code('E_ARGUMENT'));
  }
});

test('probabilities and truth ratios', () => {
  near(answerProbability(2), Math.exp(-2), 1e-15);
  assert.is(answerProbability(Number.POSITIVE_INFINITY), 0);
  near(normalisedProbability(1, [1, 1, 1]), Math.exp(-1) / (4 * Math.exp(-1) + 1e-10), 1e-15);
  near(truthRatio(1, [2, 4]), Math.exp(-3) / (Math.exp(-1) + 1e-10), 1e-15);
  near(truthRatio(Number.POSITIVE_INFINITY, [0]), 1e10, 1e-15);
  assert.is(truthRatio(0, [Number.POSITIVE_INFINITY]), 0);
  near(truthRatioScore([0.5, 2, 1, 0], 'forgotten'), 0.5, 1e-15);
  near(truthRatioScore([0.5, 2, 1, 0], 'known'), 0.375, 1e-15);
  near(truthRatioScore([0.5, 2, 1, 0], 'share'), 0.625, 1e-15);
  assert.throws(() => truthRatio(1, []), code('E_ARGUMENT'));
  assert.throws(() => truthRatio(-1, [1]), code('E_ARGUMENT'));
  assert.throws(() => truthRatio(1, 'x' as never), code('E_ARGUMENT'));
  assert.throws(() => truthRatioScore([], 'known'), code('E_ARGUMENT'));
  assert.throws(() => truthRatioScore([1], 'forget' as never), code('E_ARGUMENT'));
});

test('how far written texts are from those of a reference', () => {
  near(similarityGap([74.8, 85.1], [1.9, 9.8]), 74.1, 1e-14);
  near(similarityGap([0, 9], [1.9, 9.8]), 1.35, 1e-14);
  assert.is(similarityGap([3], [3]), 0);
  for (const [own, other] of [
    [[], []],
    [[1, 2], [1]],
    [[-1], [1]],
    [[1], [Number.NaN]],
  ] as const) {
    assert.throws(() => similarityGap(own, other), code('E_ARGUMENT'));
  }
});

test('memorisation', () => {
  assert.is(exactMemorisation([1, 2, 3, 4], [1, 0, 3, 4]), 0.75);
  assert.is(extractionStrength([1, 2, 3, 4], [1, 0, 3, 4]), 0.5);
  assert.is(extractionStrength([1, 2], [1, 2]), 1);
  assert.is(extractionStrength([1, 2], [1, 3]), 0);
  assert.is(exactMemorisation([], []), null);
  assert.is(extractionStrength([], []), null);
  assert.throws(() => extractionStrength([1], []), code('E_ARGUMENT'));
});

test('privacy: Min-K, areas with ties, PrivLeak', () => {
  near(minK([-1, -5, -2, -4, -3]), 4.5, 1e-15);
  assert.is(minK([-3]), 3);
  near(minK([-1, -5], 1), 3, 1e-15);
  for (const { below, above, area } of fixture.areas) near(areaUnderCurve(below, above), area, 1e-14);
  near(privLeak(0.9991, 0.5236), -99.811, 1e-5);
  assert.is(Math.round(privLeak(0)), 100);
  assert.throws(() => minK([]), code('E_ARGUMENT'));
  assert.throws(() => minK([0.5]), code('E_ARGUMENT'));
  assert.throws(() => minK([-1], 0), code('E_ARGUMENT'));
  assert.throws(() => privLeak(1.1), code('E_ARGUMENT'));
  assert.throws(() => areaUnderCurve([], [1]), code('E_ARGUMENT'));
});

test('fluency: distinct runs and repetition', () => {
  assert.equal(variety(['a b c', 'A b d']), { distinct2: 3 / 4, distinct3: 1, repetition: null });
  const circles = variety(['x y x y x y x y', 'one two three four five']);
  assert.is(circles.repetition, (1 - 2 / 5 + 0) / 2);
  assert.equal(variety(['', 'a']), { distinct2: null, distinct3: null, repetition: null });
  assert.throws(() => variety('a' as never), code('E_ARGUMENT'));
  assert.throws(() => variety([5] as never), code('E_ARGUMENT'));
});

test.run();
