import type { Tensor } from '../device.ts';
import { notYet } from './not-yet.ts';
import type { GpuParts } from './tensor-store.ts';

export function embed(_parts: GpuParts, _ids: Tensor, _weight: Tensor, _out: Tensor): void {
  notYet('embed');
}

export function copyRows(_parts: GpuParts, _from: Tensor, _to: Tensor, _toRow: number): void {
  notYet('copyRows');
}

export function cast(_parts: GpuParts, _from: Tensor, _to: Tensor): void {
  notYet('cast');
}

export function embedBackward(_parts: GpuParts, _ids: Tensor, _dY: Tensor, _dW: Tensor): void {
  notYet('embedBackward');
}
