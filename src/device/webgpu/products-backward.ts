import type { Tensor } from '../device.ts';
import { notYet } from './not-yet.ts';
import type { GpuParts } from './tensor-store.ts';

export function linearBackward(
  _parts: GpuParts,
  _dY: Tensor,
  _weight: Tensor,
  _dX: Tensor,
  _accumulate: boolean,
): void {
  notYet('linearBackward');
}

export function linearGroupedBackward(
  _parts: GpuParts,
  _dY: Tensor,
  _offsets: Tensor,
  _weights: Tensor,
  _dX: Tensor,
  _accumulate: boolean,
): void {
  notYet('linearGroupedBackward');
}

export function linearGroupedWeights(_parts: GpuParts, _dY: Tensor, _offsets: Tensor, _x: Tensor, _dW: Tensor): void {
  notYet('linearGroupedWeights');
}
