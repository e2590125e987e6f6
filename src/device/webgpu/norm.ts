import { elements } from '../checks/tensor.ts';
import type { Tensor } from '../device.ts';
import { type Kernel, reduction, variants } from './kernel.ts';
import { byRows } from './pieces.ts';
import type { GpuTensor } from './tensor.ts';
import type { GpuParts } from './tensor-store.ts';

/** A workgroup a group of `width` elements; \`value\` gives element i of it and may change the residual stream first. */
const NORM = variants('rmsNorm', (_, size: number, adding: boolean) => ({
  buffers: [
    ['x', 'f32', 'read'],
    ['weight', 'f32', 'read'],
    ['y', 'f32', 'write'],
    ...(adding ? [['residual', 'f32', 'write'] as const] : []),
  ],
  numbers: ['count: u32', 'width: u32', 'eps: f32'],
  workgroup: size,
  declarations: `${reduction('total', size, 'sum')}`,
  body: `if (group >= u.count) { return; }
  let at = group * u.width;
  var sum = 0.0;
  for (var i = li; i < u.width; i += ${size}u) {
    ${adding ? 'let value = residual[u.residualAt + at + i] + x[u.xAt + at + i]; residual[u.residualAt + at + i] = value;' : 'let value = x[u.xAt + at + i];'}
    sum = fma(value, value, sum);
  }
  let r = 1.0 / sqrt(total(sum, li) / f32(u.width) + u.eps);
  for (var i = li; i < u.width; i += ${size}u) {
    let value = ${adding ? 'residual[u.residualAt + at + i]' : 'x[u.xAt + at + i]'};
    y[u.yAt + at + i] = value * r * weight[u.weightAt + i];
  }`,
}));

export function rmsNorm({ commands }: GpuParts, x: Tensor, weight: Tensor, out: Tensor, eps: number): void {
  norm(commands, NORM(sizeOf(weight), false), [x, out], weight, eps);
}

export function addRmsNorm(
  { commands }: GpuParts,
  x: Tensor,
  residual: Tensor,
  weight: Tensor,
  out: Tensor,
  eps: number,
): void {
  norm(commands, NORM(sizeOf(weight), true), [x, out, residual], weight, eps);
}

function norm(
  commands: GpuParts['commands'],
  of: Kernel,
  tensors: readonly Tensor[],
  weight: Tensor,
  eps: number,
): void {
  const width = elements(weight.shape);
  for (const { bound } of byRows(commands.bindingLimit, tensors)) {
    const count = bound[0]!.byteLength / 4 / width;
    const [x, ...written] = bound;
    commands.run(of, [x!, weight as GpuTensor, ...written], [count, width, eps], count);
  }
}

/** Invocations for a group of elements. */
function sizeOf(weight: Tensor): number {
  return elements(weight.shape) <= 128 ? 32 : 256;
}
