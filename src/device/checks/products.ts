import { EspalierError } from '../../errors.ts';
import type { MatmulOptions, Tensor } from '../device.ts';
import {
  checkApart,
  checkFloats,
  checkInts,
  checkPanels,
  checkRowMajor,
  elements,
  heightOf,
  shapeError,
  widthOf,
} from './tensor.ts';

export function checkLinear(x: Tensor, weights: readonly Tensor[], outs: readonly Tensor[]): void {
  checkFloats('linear', x);
  if (outs.length !== weights.length) throw shapeError('linear', `${weights.length} weights into ${outs.length}`);
  const [rows, k] = [heightOf(x), widthOf(x)];
  for (let i = 0; i < weights.length; i++) {
    const w = weights[i]!;
    checkPanels('linear', w, 2);
    const [n, columns] = w.shape as [number, number];
    checkOut('linear', x, outs, i);
    const out = outs[i]!;
    if (columns !== k || widthOf(out) !== n || heightOf(out) !== rows) {
      const into = `[${heightOf(out)}, ${widthOf(out)}]`;
      throw shapeError('linear', `[${rows}, ${k}] · [${n}, ${columns}]ᵀ into ${into}`);
    }
  }
}

export function checkLinearBackward(dY: Tensor, weight: Tensor, dX: Tensor): void {
  checkFloats('linearBackward', dY, dX);
  checkPanels('linearBackward', weight, 2);
  const [n, k] = weight.shape as [number, number];
  const rows = heightOf(dY);
  if (widthOf(dY) !== n || heightOf(dX) !== rows || widthOf(dX) !== k) {
    const into = `[${heightOf(dX)}, ${widthOf(dX)}]`;
    throw shapeError('linearBackward', `[${rows}, ${widthOf(dY)}] · [${n}, ${k}] into ${into}`);
  }
  checkApart('linearBackward', dX, dY, weight);
}

export function checkLinearGrouped(
  x: Tensor,
  offsets: Tensor,
  weights: readonly Tensor[],
  outs: readonly Tensor[],
): void {
  checkFloats('linearGrouped', x);
  checkInts('linearGrouped', offsets);
  if (outs.length !== weights.length) {
    throw shapeError('linearGrouped', `${weights.length} weights into ${outs.length}`);
  }
  const [rows, k] = [heightOf(x), widthOf(x)];
  const experts = elements(offsets.shape) - 1;
  for (let i = 0; i < weights.length; i++) {
    const w = weights[i]!;
    checkPanels('linearGrouped', w, 3);
    checkOut('linearGrouped', x, outs, i);
    const out = outs[i]!;
    checkApart('linearGrouped', out, offsets);
    const [height, n] = [heightOf(out), widthOf(out)];
    if (height !== rows || w.shape[0] !== experts || w.shape[1] !== n || w.shape[2] !== k) {
      const product = `[${rows}, ${k}] · ${experts} of [${w.shape.join(', ')}]ᵀ`;
      throw shapeError('linearGrouped', `${product} into [${height}, ${n}]`);
    }
  }
}

export function checkLinearGroupedBackward(dY: Tensor, offsets: Tensor, weights: Tensor, dX: Tensor): void {
  checkFloats('linearGroupedBackward', dY, dX);
  checkInts('linearGroupedBackward', offsets);
  checkPanels('linearGroupedBackward', weights, 3);
  const [experts, n, k] = weights.shape as [number, number, number];
  const rows = heightOf(dY);
  if (widthOf(dY) !== n || heightOf(dX) !== rows || widthOf(dX) !== k || elements(offsets.shape) !== experts + 1) {
    const product = `[${rows}, ${widthOf(dY)}] · ${elements(offsets.shape) - 1} of [${weights.shape.join(', ')}]`;
    throw shapeError('linearGroupedBackward', `${product} into [${heightOf(dX)}, ${widthOf(dX)}]`);
  }
  checkApart('linearGroupedBackward', dX, dY, offsets, weights);
}

export function checkLinearGroupedWeights(dY: Tensor, offsets: Tensor, x: Tensor, dW: Tensor): void {
  checkFloats('linearGroupedWeights', dY, x, dW);
  checkInts('linearGroupedWeights', offsets);
  const [rows, n, k] = [heightOf(dY), widthOf(dY), widthOf(x)];
  const [experts, height, width] = dW.shape;
  if (
    dW.shape.length !== 3 ||
    heightOf(x) !== rows ||
    height !== n ||
    width !== k ||
    elements(offsets.shape) !== experts! + 1
  ) {
    const product = `[${rows}, ${n}]ᵀ · [${heightOf(x)}, ${k}] of ${elements(offsets.shape) - 1}`;
    throw shapeError('linearGroupedWeights', `${product} into [${dW.shape.join(', ')}]`);
  }
  checkApart('linearGroupedWeights', dW, dY, offsets, x);
}

/** One of several results of the same rows: f32, and memory of its own. */
function checkOut(operation: string, x: Tensor, outs: readonly Tensor[], i: number): void {
  const out = outs[i]!;
  checkRowMajor(operation, out, 'f32');
  checkApart(operation, out, x);
  for (let j = 0; j < i; j++) checkApart(operation, out, outs[j]!);
}

export function checkMatmul(a: Tensor, b: Tensor, c: Tensor, options: MatmulOptions): void {
  checkFloats('matmul', a, b, c);
  if (options.alone && (options.transposeA || !options.transposeB)) {
    throw new EspalierError(
      'E_ARGUMENT',
      'matmul: only rows times rows are computed alone.',
      'Transpose b, and not a.',
    );
  }
  const m = options.transposeA ? widthOf(a) : heightOf(a);
  const k = options.transposeA ? heightOf(a) : widthOf(a);
  const depth = options.transposeB ? widthOf(b) : heightOf(b);
  const n = options.transposeB ? heightOf(b) : widthOf(b);
  if (k !== depth || heightOf(c) !== m || widthOf(c) !== n) {
    throw shapeError('matmul', `[${m}, ${k}] · [${depth}, ${n}] into [${heightOf(c)}, ${widthOf(c)}]`);
  }
  checkApart('matmul', c, a, b);
}
