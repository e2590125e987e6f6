import type { Tensor } from '../device.ts';
import { notYet } from './not-yet.ts';
import type { GpuParts } from './tensor-store.ts';

export function logitStats(
  _parts: GpuParts,
  _logits: Tensor,
  _targets: Tensor | null,
  _tsallisOrder: number,
  _numbers: Tensor,
  _places: Tensor,
): void {
  notYet('logitStats');
}

export function topK(_parts: GpuParts, _logits: Tensor, _k: number, _values: Tensor, _places: Tensor): void {
  notYet('topK');
}
