import type { Tensor } from '../device.ts';
import { groupedInner, groupedTiles } from './grouped-product.ts';
import { operandOf } from './operand.ts';
import type { GpuTensor } from './tensor.ts';
import type { GpuParts } from './tensor-store.ts';
import { tileProduct } from './tile-product.ts';

export function linearBackward(parts: GpuParts, dY: Tensor, weight: Tensor, dX: Tensor, accumulate: boolean): void {
  const [a, b] = [
    { of: operandOf(dY), along: true },
    { of: operandOf(weight), along: false },
  ];
  tileProduct(parts, a, b, dX as GpuTensor, { alpha: 1, accumulate }, false);
}

export function linearGroupedBackward(
  parts: GpuParts,
  dY: Tensor,
  offsets: Tensor,
  weights: Tensor,
  dX: Tensor,
  accumulate: boolean,
): void {
  groupedTiles(parts, dY, offsets, weights, dX, false, accumulate);
}

export function linearGroupedWeights(parts: GpuParts, dY: Tensor, offsets: Tensor, x: Tensor, dW: Tensor): void {
  groupedInner(parts, dY, offsets, x, dW);
}
