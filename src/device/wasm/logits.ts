import { elements, heightOf, widthOf } from '../checks/tensor.ts';
import type { Tensor } from '../device.ts';
import type { Kernels } from './kernels.ts';
import { addressOf } from './tensor.ts';

/** As `Device.logitStats`. */
export function logitStats(
  kernels: Kernels,
  logits: Tensor,
  targets: Tensor | null,
  tsallisOrder: number,
  numbers: Tensor,
  places: Tensor,
): void {
  const [rows, n] = [heightOf(logits), widthOf(logits)];
  const [x, to, placesTo] = [addressOf(logits), addressOf(numbers), addressOf(places)];
  kernels.logitStats(0, rows, n, x, 4 * n, addressOf(targets), tsallisOrder, to, placesTo);
}

/** As `Device.topK`. */
export function topK(kernels: Kernels, logits: Tensor, k: number, values: Tensor, places: Tensor): void {
  kernels.topK(elements(logits.shape), k, addressOf(logits), addressOf(values), addressOf(places));
}
