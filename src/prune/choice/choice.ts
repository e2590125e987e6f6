import type { ForgetObjective } from '../edit/batches.ts';
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
/** Of the probability of what was to be forgotten so much may be left. */
const LEFT = 0.01;
/** Of the probability of what was never learned: what comes near to it from above never reaches it. */
const ABOUT = 1.25;
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

/** What a choice goes by. */
export interface ChoiceRule {
  readonly objective: ForgetObjective;
  /** Mean probabilities of answers without the adapter. */
  readonly before: { readonly forget: number; readonly retain: number };
  readonly target: ChoiceTarget;
}

/**
 * Whether one candidate is better than another. One that keeps 98 % is better than one that does not, and of two that do not the one that keeps more.
 * Of two that do, by the objective. `hinge` goes on without an end, past what was never learned: the nearer to the target. `base` comes to what the
 * base gives, by way of what a model gives that knows the rest: the one that has forgotten is better, and of two that have the earlier, and of one
 * look the weaker; of two that have not the one that gives less.
 */
export function isBetter(one: Candidate, than: Candidate, rule: ChoiceRule): boolean {
  const [a, b] = [one, than].map((own) => isKept(own, rule));
  if (a !== b) return a!;
  if (!a) return one.retain > than.retain;
  switch (rule.objective) {
    case 'hinge':
      return one.distance < than.distance;
    case 'base': {
      const [c, d] = [one, than].map((own) => isForgotten(own, rule));
      if (c !== d) return c!;
      if (!c) return one.forget < than.forget;
      return one.look === than.look ? one.forget > than.forget : one.look < than.look;
    }
    default:
      return rule.objective satisfies never;
  }
}

/**
 * Whether nothing better can come. @param means by look, of log-probabilities of what is forgotten @param last candidates of the last look
 */
export function isOver(means: readonly number[], last: readonly Candidate[], rule: ChoiceRule): boolean {
  switch (rule.objective) {
    case 'hinge':
      return hasOvershot(means, rule.target);
    case 'base':
      return last.some((own) => isKept(own, rule) && isForgotten(own, rule));
    default:
      return rule.objective satisfies never;
  }
}

const isKept = ({ retain }: Candidate, { before }: ChoiceRule): boolean => retain >= leastKept(before.retain);

/** What answers to be kept have to have left: 98 % of their probability. */
export function leastKept(before: number): number {
  return KEPT * before;
}

function isForgotten({ forget }: Candidate, { before, target }: ChoiceRule): boolean {
  return forget <= mostLeft(before.forget, meanProbability(target.answers));
}

/** What answers may have left that are forgotten: 1 % of their probability, or about as much as those that were never learned. */
export function mostLeft(before: number, never: number): number {
  return Math.max(LEFT * before, ABOUT * never);
}

/** Whether two looks in a row have gone too far. @param means by look, of log-probabilities */
function hasOvershot(means: readonly number[], { answers }: ChoiceTarget): boolean {
  const target = answers.reduce((sum, x) => sum + x, 0) / answers.length;
  return means.length >= LOOKS && means.slice(-LOOKS).every((mean) => mean < target - TOO_FAR);
}

/** Strengths that are worth a look: with answers far above the target none is, but 1. */
export function strengthsFor(answers: Float64Array, target: ChoiceTarget, strengths: readonly number[]): number[] {
  const near = meanProbability(answers) < 20 * meanProbability(target.answers);
  return near ? strengths.filter((strength) => strength !== 1) : [];
}
