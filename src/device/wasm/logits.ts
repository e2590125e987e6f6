import { STAT_NUMBERS, STAT_PLACES, type Tensor } from '../device.ts';
import type { Kernels } from './kernels.ts';
import { addressOf, elements, rowsOf, shapeError } from './tensor.ts';

/** As `Device.logitStats`. @throws E_SHAPE, E_DISPOSED */
export function logitStats(
  kernels: Kernels,
  logits: Tensor,
  targets: Tensor | null,
  tsallisOrder: number,
  numbers: Tensor,
  places: Tensor,
): void {
  const { rows, width } = rowsOf(logits);
  const [wide, high] = [elements(numbers.shape), elements(places.shape)];
  if (
    wide !== STAT_NUMBERS * rows ||
    high !== STAT_PLACES * rows ||
    (targets && elements(targets.shape) !== rows)
  ) {
    throw shapeError('logitStats', `${rows} rows into ${wide} numbers and ${high} places`);
  }
  const at = targets ? addressOf(targets, 'logitStats', 'i32') : 0;
  const from = addressOf(logits, 'logitStats', 'f32');
  const [to, placesAt] = [addressOf(numbers, 'logitStats', 'f32'), addressOf(places, 'logitStats', 'i32')];
  kernels.logitStats(0, rows, width, from, 4 * width, at, tsallisOrder, to, placesAt);
}

/** As `Device.topK`. @throws E_SHAPE, E_DISPOSED */
export function topK(kernels: Kernels, logits: Tensor, k: number, values: Tensor, places: Tensor): void {
  const n = elements(logits.shape);
  if (k < 1 || k > n || elements(values.shape) !== k || elements(places.shape) !== k) {
    throw shapeError('topK', `${k} of ${n} into ${elements(values.shape)}`);
  }
  const from = addressOf(logits, 'topK', 'f32');
  kernels.topK(n, k, from, addressOf(values, 'topK', 'f32'), addressOf(places, 'topK', 'i32'));
}
