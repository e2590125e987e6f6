import { elements, heightOf, widthOf } from '../checks/tensor.ts';
import type { Tensor } from '../device.ts';
import type { Kernels } from './kernels.ts';
import { evenly, type Lanes } from './lanes.ts';
import { addressOf } from './tensor.ts';

/** Logits below which rows of them are not worth a command to the lanes. */
const FEW = 1 << 14;

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
  lanes.run('logitStats', bounds(lanes, logits), (first, last) => {
    return [first, last, n, x, 4 * n, list, tsallisOrder, to, placesTo];
  });
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
  lanes.run('crossEntropyBackward', bounds(lanes, logits), (first, last) => {
    return [first, last, n, x, stats, list, factors, to];
  });
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
  lanes.run('divergenceBackward', bounds(lanes, logits), (first, last) => {
    return [first, last, n, y, otherStats, x, stats, factors, to, lossesTo];
  });
}

type Four = [number, number, number, number];

/** As `Device.topK`. */
export function topK(kernels: Kernels, logits: Tensor, k: number, values: Tensor, places: Tensor): void {
  kernels.topK(elements(logits.shape), k, addressOf(logits), addressOf(values), addressOf(places));
}

function bounds(lanes: Lanes, logits: Tensor): number[] {
  const rows = heightOf(logits);
  return evenly(rows, lanes.parts(rows * widthOf(logits), FEW, 2));
}
