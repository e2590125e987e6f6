import { allFinite } from '../checkpoint/finite.ts';
import { STAT, STAT_NUMBERS } from '../device/device.ts';
import { EspalierError } from '../errors.ts';

/**
 * Numbers of `logitStats` [rows, STAT_NUMBERS]. One NaN among the logits leaves their maximum and log-sum-exp finite, and shows in the entropy.
 * @throws E_TENSOR_VALUE where a row has NaN or positive infinity, or nothing finite
 */
export function checkLogitStats(numbers: Float32Array): void {
  for (let at = 0; at < numbers.length; at += STAT_NUMBERS) {
    if (Number.isFinite(numbers[at + STAT.logSumExp]!) && Number.isFinite(numbers[at + STAT.shannon]!)) continue;
    throw notFinite('The model gave logits that are not finite.');
  }
}

/** @param what they are, for the message: 'hidden states' @throws E_TENSOR_VALUE for NaN and infinity */
export function checkComputed(values: ArrayLike<number>, what: string): void {
  if (!allFinite(values)) throw notFinite(`The model gave ${what} that are not finite.`);
}

function notFinite(message: string): EspalierError {
  const hint = 'Its weights overflow f32 on this text; try the exact precision, or another checkpoint.';
  return new EspalierError('E_TENSOR_VALUE', message, hint);
}
