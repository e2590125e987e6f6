import { elements } from '../checks/tensor.ts';
import type { Tensor } from '../device.ts';
import { isSame } from './activation.ts';
import type { Bound } from './commands.ts';
import { type Kernel, reduction, variants } from './kernel.ts';
import { byGroups } from './pieces.ts';
import { rowSum, sumRows } from './sums.ts';
import type { GpuTensor } from './tensor.ts';
import type { GpuParts } from './tensor-store.ts';

/** Where the numbers come from: x; y, which is x; or the residual stream, to which x is added first. */
type From = 'x' | 'y' | 'residual';

/** A workgroup a group of `width` elements. */
const NORM = variants('rmsNorm', (_, size: number, from: From) => ({
  buffers: [
    ['weight', 'f32', 'read'],
    ...(from === 'y' ? [] : [['x', 'f32', 'read'] as const]),
    ['y', 'f32', 'write'],
    ...(from === 'residual' ? [['residual', 'f32', 'write'] as const] : []),
  ],
  numbers: ['count: u32', 'width: u32', 'eps: f32'],
  workgroup: size,
  declarations: reduction('total', size, 'sum'),
  body: `if (group >= u.count) { return; }
  let at = group * u.width;
  var sum = 0.0;
  for (var i = li; i < u.width; i += ${size}u) {
    ${from === 'residual' ? 'residual[u.residualAt + at + i] += x[u.xAt + at + i];' : ''}
    let value = ${from}[u.${from}At + at + i];
    sum = fma(value, value, sum);
  }
  let r = 1.0 / sqrt(total(sum, li) / f32(u.width) + u.eps);
  for (var i = li; i < u.width; i += ${size}u) {
    let value = ${from}[u.${from}At + at + i];
    y[u.yAt + at + i] = value * r * weight[u.weightAt + i];
  }`,
}));

export function rmsNorm({ commands }: GpuParts, x: Tensor, weight: Tensor, out: Tensor, eps: number): void {
  const inPlace = isSame(x, out);
  norm(commands, NORM(normSize(weight), inPlace ? 'y' : 'x'), inPlace ? [out] : [x, out], weight, eps);
}

export function addRmsNorm(
  { commands }: GpuParts,
  x: Tensor,
  residual: Tensor,
  weight: Tensor,
  out: Tensor,
  eps: number,
): void {
  norm(commands, NORM(normSize(weight), 'residual'), [x, out, residual], weight, eps);
}

function norm(
  commands: GpuParts['commands'],
  of: Kernel,
  tensors: readonly Tensor[],
  weight: Tensor,
  eps: number,
): void {
  const width = elements(weight.shape);
  for (const { bound } of byGroups(commands.bindingLimit, tensors, width)) {
    const count = bound[0]!.byteLength / 4 / width;
    commands.run(of, [weight as GpuTensor, ...bound], [count, width, eps], count);
  }
}

/** A workgroup a group of `width` elements; keeps 1 / rms of each where `inverses` are wanted. */
const NORM_BACKWARD = variants('rmsNormBackward', (_, size: number, keeping: boolean) => ({
  buffers: [
    ['x', 'f32', 'read'],
    ['dY', 'f32', 'read'],
    ['dX', 'f32', 'write'],
    ['weight', 'f32', 'read'],
    ...(keeping ? [['inverses', 'f32', 'write'] as const] : []),
  ],
  numbers: ['count: u32', 'width: u32', 'eps: f32'],
  workgroup: size,
  declarations: reduction('total', size, 'sum'),
  body: `if (group >= u.count) { return; }
  let at = group * u.width;
  var squares = 0.0;
  var slope = 0.0;
  for (var i = li; i < u.width; i += ${size}u) {
    let value = x[u.xAt + at + i];
    squares = fma(value, value, squares);
    slope = fma(weight[u.weightAt + i] * dY[u.dYAt + at + i], value, slope);
  }
  let n = f32(u.width);
  let r = 1.0 / sqrt(total(squares, li) / n + u.eps);
  let back = -(r * r * r) * (total(slope, li) / n);
  for (var i = li; i < u.width; i += ${size}u) {
    let g = weight[u.weightAt + i] * dY[u.dYAt + at + i];
    dX[u.dXAt + at + i] += fma(x[u.xAt + at + i], back, g * r);
  }
  ${keeping ? 'if (li == 0u) { inverses[u.inversesAt + group] = r; }' : ''}`,
}));

/** Of the weight: Σ over groups of dY ∘ x · r. */
const NORM_WEIGHT = rowSum(
  'rmsNormBackward weight',
  ['dY', 'inverses'],
  `x[u.xAt + place] * inverses[u.inversesAt + row] * dY[u.dYAt + place]`,
);

export function rmsNormBackward(
  parts: GpuParts,
  x: Tensor,
  weight: Tensor,
  dY: Tensor,
  eps: number,
  dX: Tensor,
  dWeight: Tensor | null,
): void {
  const { commands, arena } = parts;
  const width = elements(weight.shape);
  for (const { bound } of byGroups(commands.bindingLimit, [x, dY, dX], width)) {
    const count = bound[0]!.byteLength / 4 / width;
    const mark = arena.mark();
    const inverses: Bound[] = [];
    if (dWeight) inverses.push({ memory: arena.take(4 * count), offset: 0, byteLength: 4 * count });
    const of = NORM_BACKWARD(normSize(weight), dWeight !== null);
    commands.run(of, [...bound, weight as GpuTensor, ...inverses], [count, width, eps], count);
    if (dWeight) sumRows(parts, NORM_WEIGHT, [bound[0]!, bound[1]!, ...inverses], count, width, dWeight as GpuTensor);
    arena.reset(mark);
  }
}

/** Invocations for a group of elements. */
export function normSize(weight: Tensor): number {
  return elements(weight.shape) <= 128 ? 32 : 256;
}
