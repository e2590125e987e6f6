import type { Tensor } from '../device.ts';
import { notYet } from './not-yet.ts';
import type { GpuParts } from './tensor-store.ts';
export function embedBackward(_parts: GpuParts, _ids: Tensor, _dY: Tensor, _dW: Tensor): void {
  notYet('embedBackward');
}
