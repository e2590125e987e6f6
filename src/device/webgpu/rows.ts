import { byteLengthOf } from '../../element-types.ts';
import { widthOf } from '../checks/tensor.ts';
import type { Tensor } from '../device.ts';
import { copyBytes } from './bytes.ts';
import { part } from './pieces.ts';
import type { GpuTensor } from './tensor.ts';
import type { GpuParts } from './tensor-store.ts';

export function copyRows(parts: GpuParts, from: Tensor, to: Tensor, toRow: number): void {
  const first = byteLengthOf(to.type, toRow * widthOf(to));
  copyBytes(parts, from as GpuTensor, part(to as GpuTensor, first, from.byteLength));
}
