import { elements } from '../checks/tensor.ts';
import type { Tensor } from '../device.ts';
import { evenly } from './lanes.ts';
import type { Parts } from './parts.ts';
import { addressOf } from './tensor.ts';

/** Elements below which an operation is not worth a command to the lanes. */
const FEW = 1 << 14;
/** Elements of a range, in whole cache lines. */
const LINE = 16;

/** As TrainDevice.fill. */
export function fill({ memory }: Parts, x: Tensor, value: number): void {
  const at = addressOf(x) / 4;
  new Float32Array(memory.memory.buffer).fill(value, at, at + elements(x.shape));
}

/** As TrainDevice.axpy. */
export function axpy({ lanes }: Parts, alpha: number, x: Tensor, y: Tensor): void {
  const n = elements(x.shape);
  const [from, to] = [addressOf(x), addressOf(y)];
  lanes.run('axpy', evenly(n, lanes.parts(n, FEW, 2), LINE), (first, last) => {
    return [last - first, alpha, from + 4 * first, to + 4 * first];
  });
}
