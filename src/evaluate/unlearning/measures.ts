/**
 * Measures of the TOFU benchmark (Maini et al. 2024) from what a model makes of answers. A _loss_ is the mean negative log-probability, in nats, of
 * the tokens of an answer behind its question, the end token included.
 */
import { EspalierError } from '../../errors.ts';
import { oneOf } from '../../options/rules.ts';
import { mean } from '../statistics.ts';
import { type KsTest, ksTest } from './ks-test.ts';
import { checkedNumber, checkedNumbers } from './numbers.ts';

/** Keeps quotients finite, as open-unlearning has it. */
const EPSILON = 1e-10;
const MOST = Number.POSITIVE_INFINITY;
const truthRatioKind = oneOf('forgotten', 'known', 'share');

/** m(a|q) = exp(-loss): the probability of an answer, a token. @throws E_ARGUMENT for a loss below 0, and NaN */
export function answerProbability(loss: number): number {
  return Math.exp(-checkedNumber(loss, 'The loss', 0, MOST));
}

/** m(a) / (m(a) + Σ m(ã) + 1e-10): that of the right answer among wrong ones. @throws E_ARGUMENT */
export function normalisedProbability(loss: number, wrongLosses: readonly number[]): number {
  const right = answerProbability(loss);
  const wrong = checkedNumbers(wrongLosses, 'The losses of wrong answers', { least: 0 });
  return right / (right + wrong.reduce((sum, one) => sum + Math.exp(-one), 0) + EPSILON);
}

/**
 * R = exp(-mean loss of wrong answers) / (exp(-loss of the right one) + 1e-10): above 1 where wrong answers are likelier. The right one is the
 * paraphrased answer where there is one.
 * @throws E_ARGUMENT
 */
export function truthRatio(loss: number, wrongLosses: readonly number[]): number {
  const wrong = checkedNumbers(wrongLosses, 'The losses of wrong answers', { least: 0 });
  return Math.exp(-mean(wrong)) / (answerProbability(loss) + EPSILON);
}

/**
 * One figure of truth ratios, from 0 to 1. `forgotten`: mean of min(R, 1/R), 1 where right and wrong answers are alike. `known`: mean of max(0, 1 - R), 1
 * where nothing wrong is likely. `share`: mean of 1 / (1 + R), the share of the right answer of both probabilities, by which open-unlearning compares
 * measures (Dorna et al. 2025, arXiv 2506.12618).
 * @throws E_ARGUMENT for an empty list, ratios below 0, and another kind
 */
export function truthRatioScore(ratios: ArrayLike<number>, of: 'forgotten' | 'known' | 'share'): number {
  truthRatioKind.check(of, 'The kind');
  const list = checkedNumbers(ratios, 'The truth ratios', { least: 0 });
  switch (of) {
    case 'forgotten':
      return mean(list.map((ratio) => Math.min(ratio, 1 / ratio)));
    case 'known':
      return mean(list.map((ratio) => Math.max(0, 1 - ratio)));
    case 'share':
      return mean(list.map((ratio) => 1 / (1 + ratio)));
    default:
      return of satisfies never;
  }
}

/**
 * Harmonic mean of what a model still can: of TOFU nine figures, {probability, ROUGE-L recall, truth ratio} of {retain, real authors, world facts}. 0
 * where one is 0.
 * @throws E_ARGUMENT for an empty list, and figures below 0
 */
export function modelUtility(figures: readonly number[]): number {
  const list = checkedNumbers(figures, 'The figures', { least: 0 });
  return list.includes(0) ? 0 : list.length / list.reduce((sum, figure) => sum + 1 / figure, 0);
}

/**
 * Whether truth ratios on what was to be forgotten may be those of a model that never saw it: p of the exact test of Kolmogorov and Smirnov, 1
 * where nothing tells them apart. Not to be read alone: a model that answers nothing may have it, too.
 * @throws as `ksTest`
 */
export function forgetQuality(ratios: ArrayLike<number>, ofReference: ArrayLike<number>): KsTest {
  return ksTest(ratios, ofReference);
}

/**
 * Average similarity gap: how far scores of written texts are from those of a model that never saw the originals, the mean of their absolute differences. ALTER
 * (arXiv 2603.01792) reports it of BLEU and ROUGE-L against the text that was to be forgotten, both in percents.
 * @param scores of one model, and in the same order of the other
 * @throws E_ARGUMENT for lists that are empty or not of one length, scores below 0, and NaN
 */
export function similarityGap(scores: readonly number[], ofReference: readonly number[]): number {
  const own = checkedNumbers(scores, 'The scores', { least: 0 });
  const other = checkedNumbers(ofReference, 'The scores of the reference', { least: 0 });
  if (own.length !== other.length) {
    const what = `There are ${own.length} scores, and ${other.length} of the reference.`;
    throw new EspalierError('E_ARGUMENT', what, 'Give the same scores of both.');
  }
  return mean(own.map((score, i) => Math.abs(score - other[i]!)));
}
