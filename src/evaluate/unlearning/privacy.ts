/** Whether a model tells what it was trained on from what it never saw (MUSE, Shi et al. 2024). */
import { mean } from '../statistics.ts';
import { checkedNumber, checkedNumbers } from './numbers.ts';

const EPSILON = 1e-10;

/**
 * Min-K (Shi et al. 2024): the negative mean of the lowest log-probabilities of a text, of a share of its tokens, at least one. Low for what the model
 * was trained on.
 * @param share above 0 and up to 1; default 0.4
 * @throws E_ARGUMENT
 */
export function minK(logProbabilities: ArrayLike<number>, share = 0.4): number {
  const list = checkedNumbers(logProbabilities, 'The log-probabilities', { most: 0 });
  const count = Math.max(1, Math.floor(list.length * checkedNumber(share, 'The share', Number.MIN_VALUE, 1)));
  return -mean(list.sort().subarray(0, count));
}

/**
 * Area under the ROC curve: how often a value of `above` is above one of `below`; equal ones count half.
 * @throws E_ARGUMENT
 */
export function areaUnderCurve(below: ArrayLike<number>, above: ArrayLike<number>): number {
  const low = checkedNumbers(below, 'The lower values').sort();
  const high = checkedNumbers(above, 'The upper values').sort();
  let [less, notMore, pairs] = [0, 0, 0];
  for (const value of high) {
    while (less < low.length && low[less]! < value) less++;
    while (notMore < low.length && low[notMore]! <= value) notMore++;
    pairs += (less + notMore) / 2;
  }
  return pairs / (low.length * high.length);
}

/**
 * PrivLeak: ((1 - AUC) - (1 - reference)) / (1 - reference + 1e-10) · 100, where AUC is `areaUnderCurve` of Min-K scores of forgotten texts and of
 * texts never seen: 1 where forgotten ones still look as trained on. 0 is ideal, below 0 too little was forgotten, above 0 it shows.
 * @param reference that of a model that never saw the texts; default 0.5
 * @throws E_ARGUMENT
 */
export function privLeak(auc: number, reference = 0.5): number {
  const own = 1 - checkedNumber(auc, 'The area under the curve', 0, 1);
  const other = 1 - checkedNumber(reference, 'The reference', 0, 1);
  return ((own - other) / (other + EPSILON)) * 100;
}
