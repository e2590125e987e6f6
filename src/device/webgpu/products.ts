import type { MatmulOptions, Precision, Tensor } from '../device.ts';
import { notYet } from './not-yet.ts';
import { operandOf } from './operand.ts';
import type { GpuTensor } from './tensor.ts';
import type { GpuParts } from './tensor-store.ts';
import { tileProduct } from './tile-product.ts';

/** Weights are dequantised on the way and activations stay f32, whatever precision is asked for. */
export function linear(
  parts: GpuParts,
  x: Tensor,
  weights: readonly Tensor[],
  outs: readonly Tensor[],
  _precision: Precision,
  _alone: boolean,
): void {
  const a = { of: operandOf(x), along: true };
  for (const [i, weight] of weights.entries()) {
    const b = { of: operandOf(weight), along: true };
    tileProduct(parts, a, b, outs[i] as GpuTensor, { alpha: 1, accumulate: false }, false);
  }
}

export function matmul(parts: GpuParts, a: Tensor, b: Tensor, c: Tensor, options: MatmulOptions): void {
  const { transposeA = false, transposeB = false, alpha = 1, accumulate = false } = options;
  const [left, right] = [
    { of: operandOf(a), along: !transposeA },
    { of: operandOf(b), along: transposeB },
  ];
  tileProduct(parts, left, right, c as GpuTensor, { alpha, accumulate }, true);
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
