import { elements } from '../checks/tensor.ts';
import type { Tensor } from '../device.ts';
import type { Parts } from './parts.ts';
import { addressOf } from './tensor.ts';

/** As TrainDevice.fill. */
export function fill({ memory }: Parts, x: Tensor, value: number): void {
  const at = addressOf(x) / 4;
  new Float32Array(memory.memory.buffer).fill(value, at, at + elements(x.shape));
}
