import { elements, heightOf, widthOf } from '../checks/tensor.ts';
import type { Tensor } from '../device.ts';
import type { Kernels } from './kernels.ts';
import type { Lanes } from './lanes.ts';
import { overRows } from './over-rows.ts';
import { addressOf } from './tensor.ts';

/** As `Device.logitStats`. */
export function logitStats(
  lanes: Lanes,
  logits: Tensor,
  targets: Tensor | null,
  tsallisOrder: number,
  numbers: Tensor,
  places: Tensor,
): void {
  const n = widthOf(logits);
  const [x, list, to, placesTo] = [addressOf(logits), addressOf(targets), addressOf(numbers), addressOf(places)];
  overRows(lanes, 'logitStats', heightOf(logits), n, [0, 0, n, x, 4 * n, list, tsallisOrder, to, placesTo]);
}

/** As `TrainDevice.crossEntropyBackward`. */
export function crossEntropyBackward(
  lanes: Lanes,
  logits: Tensor,
  numbers: Tensor,
  targets: Tensor,
  weights: Tensor,
  dLogits: Tensor,
): void {
  const n = widthOf(logits);
  const [x, stats, to] = [addressOf(logits), addressOf(numbers), addressOf(dLogits)];
  const [list, factors] = [addressOf(targets), addressOf(weights)];
  overRows(lanes, 'crossEntropyBackward', heightOf(logits), n, [0, 0, n, x, stats, list, factors, to]);
}

/** As `TrainDevice.divergenceBackward`. */
export function divergenceBackward(
  lanes: Lanes,
  reference: Tensor,
  referenceNumbers: Tensor,
  logits: Tensor,
  numbers: Tensor,
  weights: Tensor,
  dLogits: Tensor,
  losses: Tensor,
): void {
  const n = widthOf(logits);
  const [y, otherStats, x, stats] = [reference, referenceNumbers, logits, numbers].map(addressOf) as Four;
  const [factors, to, lossesTo] = [addressOf(weights), addressOf(dLogits), addressOf(losses)];
  overRows(lanes, 'divergenceBackward', heightOf(logits), n, [0, 0, n, y, otherStats, x, stats, factors, to, lossesTo]);
}

/** As `TrainDevice.hingeLoss`. */
export function hingeLoss(lanes: Lanes, numbers: Tensor, places: Tensor, targets: Tensor, losses: Tensor): void {
  const [stats, placesAt, list, to] = [numbers, places, targets, losses].map(addressOf) as Four;
  overRows(lanes, 'hingeLoss', elements(targets.shape), 1, [0, 0, stats, placesAt, list, to]);
}

/** As `TrainDevice.hingeBackward`. */
export function hingeBackward(
  lanes: Lanes,
  logits: Tensor,
  numbers: Tensor,
  places: Tensor,
  targets: Tensor,
  weights: Tensor,
  dLogits: Tensor,
): void {
  const n = widthOf(logits);
  const [x, stats, placesAt, list] = [logits, numbers, places, targets].map(addressOf) as Four;
  const [factors, to] = [addressOf(weights), addressOf(dLogits)];
  overRows(lanes, 'hingeBackward', heightOf(logits), n, [0, 0, n, x, stats, placesAt, list, factors, to]);
}

/** As `TrainDevice.entropyBackward`. */
export function entropyBackward(
  lanes: Lanes,
  logits: Tensor,
  numbers: Tensor,
  tsallisOrder: number,
  reference: Tensor | null,
  weights: Tensor,
  dLogits: Tensor,
): void {
  const n = widthOf(logits);
  const [x, stats, factors, to] = [logits, numbers, weights, dLogits].map(addressOf) as Four;
  const wanted = addressOf(reference);
  overRows(lanes, 'entropyBackward', heightOf(logits), n, [0, 0, n, tsallisOrder, x, stats, wanted, factors, to]);
}

type Four = [number, number, number, number];

/** As `Device.topK`. */
export function topK(kernels: Kernels, logits: Tensor, k: number, values: Tensor, places: Tensor): void {
  kernels.topK(elements(logits.shape), k, addressOf(logits), addressOf(values), addressOf(places));
}
