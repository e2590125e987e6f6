import type { MatmulOptions, Precision, Tensor } from '../device.ts';
import { groupedRows } from './grouped-product.ts';
import { matrixProduct } from './matrix-product.ts';
import { operandOf } from './operand.ts';
import { FEW_ROWS, rowProduct } from './row-product.ts';
import type { GpuTensor } from './tensor.ts';
import type { GpuParts } from './tensor-store.ts';
import { type Scaling, tileProduct } from './tile-product.ts';

export const REPLACED: Scaling = { alpha: 1, accumulate: false };

/**
 * Weights are dequantised on the way and activations stay f32, whatever precision is asked for; but where there are matrix units (matrix-units.ts) and eight
 * bits of activations would do, many rows meet weights in f16 as f16.
 */
export function linear(
  parts: GpuParts,
  x: Tensor,
  weights: readonly Tensor[],
  outs: readonly Tensor[],
  precision: Precision,
  alone: boolean,
): void {
  const rows = operandOf(x);
  const meetings = weights.map((weight, i) => ({ weight: operandOf(weight), out: outs[i] as GpuTensor }));
  if (alone || rows.rows <= FEW_ROWS) {
    rowProduct(parts, rows, meetings, REPLACED);
    return;
  }
  const others = precision === 'int8' ? matrixProduct(parts, rows, meetings) : meetings;
  for (const { weight, out } of others) {
    tileProduct(parts, { of: rows, along: true }, { of: weight, along: true }, out, REPLACED, false);
  }
}

export function matmul(parts: GpuParts, a: Tensor, b: Tensor, c: Tensor, options: MatmulOptions): void {
  const { transposeA = false, transposeB = false, alpha = 1, accumulate = false, alone = false } = options;
  const [left, right] = [operandOf(a), operandOf(b)];
  const out = c as GpuTensor;
  const scaling = { alpha, accumulate };
  if (transposeB && !transposeA && (alone || left.rows <= FEW_ROWS)) {
    rowProduct(parts, left, [{ weight: right, out }], scaling);
  } else {
    tileProduct(parts, { of: left, along: !transposeA }, { of: right, along: transposeB }, out, scaling, true);
  }
}

export function linearGrouped(
  parts: GpuParts,
  x: Tensor,
  offsets: Tensor,
  weights: readonly Tensor[],
  outs: readonly Tensor[],
  _precision: Precision,
  alone: boolean,
): void {
  for (const [i, weight] of weights.entries()) groupedRows(parts, x, offsets, weight, outs[i]!, alone);
}
