import type { Tensor } from '../device.ts';
import { type ElementwiseText, elementwise, overElements, overRowElements } from './elementwise.ts';
import { type Kernel, variants } from './kernel.ts';
import type { GpuTensor } from './tensor.ts';
import type { GpuParts } from './tensor-store.ts';

function simple(name: string, text: ElementwiseText): (wide: boolean) => Kernel {
  return variants(name, (_, wide: boolean) => elementwise(wide, text));
}

const xy = [
  ['x', 'read'],
  ['y', 'write'],
] as const;
const y = [['y', 'write']] as const;

const ADD = simple('add', { buffers: xy, body: 'y[u.yAt + i] += x[u.xAt + i];' });
const AXPY = simple('axpy', {
  buffers: xy,
  numbers: ['alpha: f32'],
  body: 'y[u.yAt + i] = fma(T(u.alpha), x[u.xAt + i], y[u.yAt + i]);',
});
const SCALE = simple('scale', { buffers: y, numbers: ['factor: f32'], body: 'y[u.yAt + i] *= u.factor;' });
const FILL = simple('fill', { buffers: y, numbers: ['value: f32'], body: 'y[u.yAt + i] = T(u.value);' });
const ADD_BIAS = simple('addBias', {
  buffers: [...y, ['bias', 'read']],
  numbers: ['width: u32'],
  body: 'y[u.yAt + i] += bias[u.biasAt + i % u.width];',
});

export function add(parts: GpuParts, x: Tensor, y: Tensor): void {
  overElements(parts, ADD, [x, y]);
}

export function axpy(parts: GpuParts, alpha: number, x: Tensor, y: Tensor): void {
  overElements(parts, AXPY, [x, y], [alpha]);
}

export function scale(parts: GpuParts, x: Tensor, factor: number): void {
  overElements(parts, SCALE, [x], [factor]);
}

export function fill(parts: GpuParts, x: Tensor, value: number): void {
  overElements(parts, FILL, [x], [value]);
}

export function addBias(parts: GpuParts, bias: Tensor, y: Tensor): void {
  overRowElements(parts, ADD_BIAS, [y], { whole: [bias as GpuTensor] });
}
