/** Products of few rows together with what stands before and behind them in a layer. */
import { heightOf, widthOf } from '../checks/tensor.ts';
import type { GatedActivation, Tensor } from '../device.ts';
import { gatedActivation } from './activation.ts';
import { scratch } from './attention.ts';
import { rmsNorm } from './norm.ts';
import { type Operand, operandOf } from './operand.ts';
import { REPLACED } from './products.ts';
import { gatedRowProduct, type RowNorm, rowProduct } from './row-product.ts';
import { GpuTensor } from './tensor.ts';
import type { GpuParts } from './tensor-store.ts';

export function normLinear(
  parts: GpuParts,
  x: Tensor,
  norm: RowNorm,
  weights: readonly Tensor[],
  outs: readonly Tensor[],
): void {
  const meetings = weights.map((weight, i) => ({ weight: operandOf(weight), out: outs[i] as GpuTensor }));
  const rows = operandOf(x);
  if (canNorm(rows, norm)) {
    rowProduct(parts, rows, meetings, REPLACED, null, norm);
    return;
  }
  const mark = parts.arena.mark();
  rowProduct(parts, operandOf(normed(parts, x, norm)), meetings, REPLACED);
  parts.arena.reset(mark);
}

export function normGated(
  parts: GpuParts,
  kind: GatedActivation,
  x: Tensor,
  norm: RowNorm,
  gate: Tensor,
  up: Tensor,
  out: Tensor,
): void {
  const rows = operandOf(x);
  const both = [operandOf(gate), operandOf(up)] as const;
  if (canNorm(rows, norm) && gatedRowProduct(parts, rows, both, out as GpuTensor, kind, norm)) return;
  const mark = parts.arena.mark();
  const other = like(parts, out);
  normLinear(parts, x, norm, [gate, up], [out, other]);
  gatedActivation(parts, kind, out, other, out);
  parts.arena.reset(mark);
}

export function addLinear(parts: GpuParts, x: Tensor, weight: Tensor, residual: Tensor): void {
  const meeting = { weight: operandOf(weight), out: residual as GpuTensor };
  rowProduct(parts, operandOf(x), [meeting], { alpha: 1, accumulate: true });
}

/**
 * Rows that are normed as a product reads them, at most. It would be right for any number; of more a program that plays the GPU takes minutes to compile it, and what a real
 * one gains by it is not measured.
 */
const NORMED_ROWS = 1;

/** Whether rows are few enough, and they and the norm's weight vectors of four. */
function canNorm({ reading, rows }: Operand, { weight }: RowNorm): boolean {
  return rows <= NORMED_ROWS && reading === 'f32' && (weight as GpuTensor).offset % 16 === 0;
}

function normed(parts: GpuParts, x: Tensor, { weight, eps }: RowNorm): Tensor {
  const to = like(parts, x);
  rmsNorm(parts, x, weight, to, eps);
  return to;
}

/** Scratch of its shape. */
function like(parts: GpuParts, t: Tensor): GpuTensor {
  const { memory, byteLength } = scratch(parts, heightOf(t) * widthOf(t));
  return new GpuTensor('f32', t.shape, 'rows', memory, 0, byteLength, null);
}
