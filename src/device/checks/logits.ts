import { STAT_NUMBERS, STAT_PLACES, type Tensor } from '../device.ts';
import { checkApart, checkFloats, checkInts, elements, heightOf, shapeError } from './tensor.ts';

export function checkLogitStats(logits: Tensor, targets: Tensor | null, numbers: Tensor, places: Tensor): void {
  checkFloats('logitStats', logits, numbers);
  checkInts('logitStats', places, targets);
  const rows = heightOf(logits);
  const [n, m] = [elements(numbers.shape), elements(places.shape)];
  if (n !== STAT_NUMBERS * rows || m !== STAT_PLACES * rows || (targets && elements(targets.shape) !== rows)) {
    throw shapeError('logitStats', `${rows} rows into ${n} numbers and ${m} places`);
  }
  checkApart('logitStats', numbers, logits, targets);
  checkApart('logitStats', places, logits, targets, numbers);
}

export function checkTopK(logits: Tensor, k: number, values: Tensor, places: Tensor): void {
  checkFloats('topK', logits, values);
  checkInts('topK', places);
  const n = elements(logits.shape);
  const whole = Number.isInteger(k) && k >= 1 && k <= n;
  if (!whole || elements(values.shape) !== k || elements(places.shape) !== k) {
    throw shapeError('topK', `${k} of ${n} into ${elements(values.shape)}`);
  }
  checkApart('topK', values, logits);
  checkApart('topK', places, logits, values);
}
