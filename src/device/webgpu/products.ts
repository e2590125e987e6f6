import type { MatmulOptions, Precision, Tensor } from '../device.ts';
import { notYet } from './not-yet.ts';
import type { GpuParts } from './tensor-store.ts';

export function linear(
  _parts: GpuParts,
  _x: Tensor,
  _weights: readonly Tensor[],
  _outs: readonly Tensor[],
  _precision: Precision,
  _alone: boolean,
): void {
  notYet('linear');
}

export function matmul(_parts: GpuParts, _a: Tensor, _b: Tensor, _c: Tensor, _options: MatmulOptions): void {
  notYet('matmul');
}

export function linearGrouped(
  _parts: GpuParts,
  _x: Tensor,
  _offsets: Tensor,
  _weights: readonly Tensor[],
  _outs: readonly Tensor[],
  _precision: Precision,
  _alone: boolean,
): void {
  notYet('linearGrouped');
}
