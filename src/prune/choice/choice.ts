import { meanProbability } from '../measure/answers.ts';

/** Where the measure of the choice comes from. */
export type ChoiceSource = 'reference' | 'unseen' | 'base' | 'enough';

/** What answers that were never learned look like. */
export interface ChoiceTarget {
  readonly source: ChoiceSource;
  /** [n] mean log-probabilities of answers, in nats. */
  readonly answers: Float64Array;
}

/** One of the states that an adapter could be left in: its factors at a look, and how strong its experts act. */
export interface Candidate {
  /** The number of the look, from 1 on. */
  readonly look: number;
  /** Epochs of Phase II. */
  readonly epoch: number;
  /** What the experts' coefficients are multiplied by. */
  readonly strength: number;
  /** Mean probability of answers to be forgotten, and of those to be kept. */
  readonly forget: number;
  readonly retain: number;
  /** From the target's answers, in nats: `distanceOf`. */
  readonly distance: number;
}

/** Of what was kept so much has to stay, or what keeps more is better. */
const KEPT = 0.98;
/** Nats below the target's mean that have gone too far. */
const TOO_FAR = 1.5;
/** Looks in a row. */
const LOOKS = 2;

/**
 * How far answers are from those that were never learned, in nats: the area between both distribution functions of mean log-probabilities
 * (Wasserstein's distance of order 1). It sees no other answers than those that are forgotten, and no test.
 */
export function distanceOf(answers: Float64Array, { answers: target }: ChoiceTarget): number {
  const [a, b] = [answers.slice().sort(), target.slice().sort()];
  const places = [...a, ...b].sort((x, y) => x - y);
  let [i, j, sum] = [0, 0, 0];
  for (let k = 0; k + 1 < places.length; k++) {
    while (i < a.length && a[i]! <= places[k]!) i++;
    while (j < b.length && b[j]! <= places[k]!) j++;
    sum += Math.abs(i / a.length - j / b.length) * (places[k + 1]! - places[k]!);
  }
  return sum;
}

/** Whether one candidate is better than another. @param kept mean probability of answers to be kept without the adapter */
export function isBetter(one: Candidate, than: Candidate, kept: number): boolean {
  const [a, b] = [one, than].map(({ retain }) => retain >= KEPT * kept);
  if (a !== b) return a!;
  return a ? one.distance < than.distance : one.retain > than.retain;
}

/** Whether two looks in a row have gone too far: forgetting never comes back. @param means by look, of log-probabilities */
export function hasOvershot(means: readonly number[], { answers }: ChoiceTarget): boolean {
  const target = answers.reduce((sum, x) => sum + x, 0) / answers.length;
  return means.length >= LOOKS && means.slice(-LOOKS).every((mean) => mean < target - TOO_FAR);
}

/** Strengths that are worth a look: with answers far above the target none is, but 1. */
export function strengthsFor(answers: Float64Array, target: ChoiceTarget, strengths: readonly number[]): number[] {
  const near = meanProbability(answers) < 20 * meanProbability(target.answers);
  return near ? strengths.filter((strength) => strength !== 1) : [];
}
