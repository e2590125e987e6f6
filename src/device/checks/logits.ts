import { STAT_NUMBERS, STAT_PLACES, type Tensor } from '../device.ts';
import { checkApart, checkApartOrSame, checkFloats, checkInts, elements, heightOf, shapeError } from './tensor.ts';

export function checkLogitStats(
  logits: Tensor,
  targets: Tensor | null,
  tsallisOrder: number,
  numbers: Tensor,
  places: Tensor,
): void {
  checkFloats('logitStats', logits, numbers);
  checkInts('logitStats', places, targets);
  const rows = heightOf(logits);
  checkStats('logitStats', rows, numbers, places, targets);
  checkOrder('logitStats', tsallisOrder);
  checkApart('logitStats', numbers, logits, targets);
  checkApart('logitStats', places, logits, targets, numbers);
}

export function checkCrossEntropyBackward(
  logits: Tensor,
  numbers: Tensor,
  targets: Tensor,
  weights: Tensor,
  dLogits: Tensor,
): void {
  const operation = 'crossEntropyBackward';
  checkFloats(operation, logits, numbers, weights, dLogits);
  checkInts(operation, targets);
  const rows = heightOf(logits);
  checkStats(operation, rows, numbers, null, weights);
  if (elements(targets.shape) !== rows || elements(dLogits.shape) !== elements(logits.shape)) {
    throw shapeError(operation, `${rows} rows with ${elements(targets.shape)} targets`);
  }
  checkApartOrSame(operation, dLogits, logits);
  checkApart(operation, dLogits, numbers, targets, weights);
}

export function checkDivergenceBackward(
  reference: Tensor,
  referenceNumbers: Tensor,
  logits: Tensor,
  numbers: Tensor,
  weights: Tensor,
  dLogits: Tensor,
  losses: Tensor,
): void {
  const operation = 'divergenceBackward';
  checkFloats(operation, reference, referenceNumbers, logits, numbers);
  checkFloats(operation, weights, dLogits, losses);
  const [rows, size] = [heightOf(logits), elements(logits.shape)];
  checkStats(operation, rows, referenceNumbers, null, weights);
  checkStats(operation, rows, numbers, null, losses);
  if (elements(reference.shape) !== size || elements(dLogits.shape) !== size) {
    throw shapeError(operation, `${rows} rows of ${size} logits to a reference of ${elements(reference.shape)}`);
  }
  for (const written of [dLogits, losses]) {
    checkApart(operation, written, reference, referenceNumbers, logits, numbers);
    checkApart(operation, written, weights);
  }
  checkApart(operation, dLogits, losses);
}

export function checkHingeLoss(numbers: Tensor, places: Tensor, targets: Tensor, losses: Tensor): void {
  const operation = 'hingeLoss';
  checkFloats(operation, numbers, losses);
  checkInts(operation, places, targets);
  checkStats(operation, elements(targets.shape), numbers, places, losses);
  checkApart(operation, losses, numbers, places, targets);
}

export function checkHingeBackward(
  logits: Tensor,
  numbers: Tensor,
  places: Tensor,
  targets: Tensor,
  weights: Tensor,
  dLogits: Tensor,
): void {
  const operation = 'hingeBackward';
  checkFloats(operation, logits, numbers, weights, dLogits);
  checkInts(operation, places, targets);
  const rows = heightOf(logits);
  checkStats(operation, rows, numbers, places, weights);
  if (elements(targets.shape) !== rows || elements(dLogits.shape) !== elements(logits.shape)) {
    throw shapeError(operation, `${rows} rows with ${elements(targets.shape)} targets`);
  }
  checkApartOrSame(operation, dLogits, logits);
  checkApart(operation, dLogits, numbers, places, targets, weights);
}

export function checkEntropyBackward(
  logits: Tensor,
  numbers: Tensor,
  tsallisOrder: number,
  reference: Tensor | null,
  weights: Tensor,
  dLogits: Tensor,
): void {
  const operation = 'entropyBackward';
  checkFloats(operation, logits, numbers, weights, dLogits);
  checkFloats(operation, reference);
  const rows = heightOf(logits);
  checkStats(operation, rows, numbers, null, weights);
  if (elements(dLogits.shape) !== elements(logits.shape) || (reference && elements(reference.shape) !== rows)) {
    throw shapeError(operation, `${rows} rows of logits, the gradient ${elements(dLogits.shape)} numbers`);
  }
  checkOrder(operation, tsallisOrder);
  checkApart(operation, dLogits, logits, numbers, reference, weights);
}

/** What `logitStats` gives for so many rows, and one number for each. */
function checkStats(
  operation: string,
  rows: number,
  numbers: Tensor,
  places: Tensor | null,
  each: Tensor | null,
): void {
  const [n, m] = [elements(numbers.shape), places ? elements(places.shape) : STAT_PLACES * rows];
  const one = each ? elements(each.shape) : rows;
  if (n === STAT_NUMBERS * rows && m === STAT_PLACES * rows && one === rows) return;
  throw shapeError(operation, `${rows} rows with ${n} numbers, ${m} places and ${one} of one each`);
}

function checkOrder(operation: string, order: number): void {
  if (!(order > 0 && order < Number.POSITIVE_INFINITY)) throw shapeError(operation, `an order of ${order}`);
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
