import { STAT_NUMBERS, STAT_PLACES, type StepArguments, type Tensor } from '../device.ts';
import type { DrawArguments } from '../fused-device.ts';
import { DRAW_FIELDS, MOST_LISTED } from '../webgpu/draw-rule.ts';
import { checkLinear } from './products.ts';
import { checkApart, checkFloats, checkInts, elements, heightOf, shapeError, widthOf } from './tensor.ts';

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

export function checkDrawRows(args: DrawArguments): void {
  const { logits, numbers, places, rules, listed, ids, drawn } = args;
  const operation = 'drawRows';
  checkFloats(operation, logits, numbers, rules, drawn);
  checkFloats(operation, listed?.values ?? null);
  checkInts(operation, places, ids);
  const rows = heightOf(logits);
  const wanted: [Tensor, number][] = [
    [numbers, rows * STAT_NUMBERS],
    [places, rows * STAT_PLACES],
    [rules, rows * DRAW_FIELDS],
    [ids, rows],
    [drawn, rows],
  ];
  if (listed) {
    checkInts(operation, listed.places);
    const count = widthOf(listed.values);
    if (count < 1 || count > MOST_LISTED) {
      throw shapeError(operation, `${count} tokens of a row, at most ${MOST_LISTED} are listed`);
    }
    wanted.push([listed.values, rows * count], [listed.places, rows * count]);
  }
  for (const [t, size] of wanted) {
    if (elements(t.shape) !== size) throw shapeError(operation, `${rows} rows with [${t.shape.join(', ')}]`);
  }
  checkApart(operation, ids, logits, numbers, places, rules);
  checkApart(operation, drawn, logits, numbers, places, rules);
  checkApart(operation, drawn, ids, listed?.values ?? null, listed?.places ?? null);
  checkApart(operation, ids, listed?.values ?? null, listed?.places ?? null);
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
