import type { StepArguments, Tensor } from '../device.ts';
import { checkLinear } from './products.ts';
import { checkApart, checkFloats, elements, heightOf, shapeError, widthOf } from './tensor.ts';

/** Of `normLinear`, `normGated` and `addLinear`; without a norm, outs are added to. */
export function checkFusedLinear(
  operation: 'normLinear' | 'normGated' | 'addLinear',
  x: Tensor,
  norm: Tensor | null,
  weights: readonly Tensor[],
  outs: readonly Tensor[],
): void {
  checkLinear(x, weights, outs);
  if (!norm) return;
  checkFloats(operation, norm);
  if (elements(norm.shape) !== widthOf(x)) {
    throw shapeError(operation, `a norm of ${elements(norm.shape)} for rows of ${widthOf(x)}`);
  }
  for (const out of outs) checkApart(operation, out, norm);
}

/** Two matrices of one shape into one. */
export function checkNormGated(x: Tensor, norm: Tensor, gate: Tensor, up: Tensor, out: Tensor): void {
  checkFusedLinear('normGated', x, norm, [gate], [out]);
  checkLinear(x, [up], [out]);
}

export function checkExpertShares(logits: Tensor, entropies: Tensor | null, cut: number | null, out: Tensor): void {
  checkFloats('expertShares', logits, entropies, out);
  const [rows, experts] = [heightOf(out), widthOf(out)];
  const given = entropies ? elements(entropies.shape) : 0;
  if (heightOf(logits) !== rows || widthOf(logits) !== experts + 1 || given !== (cut === null ? 0 : rows)) {
    throw shapeError(
      'expertShares',
      `[${heightOf(logits)}, ${widthOf(logits)}], ${given} entropies, [${rows}, ${experts}]`,
    );
  }
  checkApart('expertShares', out, logits, entropies);
}

/** Beside what `checkAttendEach` asks. */
export function checkAttendLinear(
  { q, k, v, out, table, sequences }: StepArguments,
  weight: Tensor,
  residual: Tensor,
): void {
  checkFusedLinear('addLinear', out, null, [weight], [residual]);
  checkApart('attendLinear', residual, q, k, v, table);
  for (const { keys, values } of sequences) checkApart('attendLinear', residual, keys, values);
}
