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

/** One of several results of the same rows: f32, and memory of its own. */
function checkOut(operation: string, x: Tensor, outs: readonly Tensor[], i: number): void {
  const out = outs[i]!;
  checkRowMajor(operation, out, 'f32');
  checkApart(operation, out, x);
  for (let j = 0; j < i; j++) checkApart(operation, out, outs[j]!);
}

export function checkMatmul(a: Tensor, b: Tensor, c: Tensor, options: MatmulOptions): void {
  checkFloats('matmul', a, b, c);
  const m = options.transposeA ? widthOf(a) : heightOf(a);
  const k = options.transposeA ? heightOf(a) : widthOf(a);
  const depth = options.transposeB ? widthOf(b) : heightOf(b);
  const n = options.transposeB ? heightOf(b) : widthOf(b);
  if (k !== depth || heightOf(c) !== m || widthOf(c) !== n) {
    throw shapeError('matmul', `[${m}, ${k}] · [${depth}, ${n}] into [${heightOf(c)}, ${widthOf(c)}]`);
  }
  checkApart('matmul', c, a, b);
}
