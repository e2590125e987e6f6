import { byteLengthOf } from '../../element-types.ts';
import type { Tensor } from '../device.ts';
import {
  checkApart,
  checkFloats,
  checkInts,
  checkPanels,
  checkRangeApart,
  checkRowMajor,
  elements,
  heightOf,
  shapeError,
  widthOf,
} from './tensor.ts';

export function checkEmbed(ids: Tensor, weight: Tensor, out: Tensor): void {
  checkInts('embed', ids);
  checkPanels('embed', weight, 2);
  checkFloats('embed', out);
  const count = elements(ids.shape);
  const [rows, width] = [heightOf(out), widthOf(out)];
  const [n, k] = weight.shape as [number, number];
  if (rows !== count || width !== k || (count > 0 && n === 0)) {
    throw shapeError('embed', `${count} ids of [${n}, ${k}] into [${rows}, ${width}]`);
  }
  checkApart('embed', out, ids);
}

export function checkEmbedBackward(ids: Tensor, dY: Tensor, dW: Tensor): void {
  checkInts('embedBackward', ids);
  checkFloats('embedBackward', dY, dW);
  const count = elements(ids.shape);
  const [rows, width] = [heightOf(dY), widthOf(dY)];
  const [n, k] = [heightOf(dW), widthOf(dW)];
  if (rows !== count || width !== k || (count > 0 && n === 0)) {
    throw shapeError('embedBackward', `${count} ids and [${rows}, ${width}] into [${n}, ${k}]`);
  }
  checkApart('embedBackward', dW, ids, dY);
}

export function checkCopyRows(from: Tensor, to: Tensor, toRow: number): void {
  checkRowMajor('copyRows', from);
  checkRowMajor('copyRows', to, from.type);
  const [rows, width] = [heightOf(from), widthOf(to)];
  if (widthOf(from) !== width || !Number.isInteger(toRow) || toRow < 0 || toRow + rows > heightOf(to)) {
    throw shapeError('copyRows', `[${rows}, ${widthOf(from)}] to row ${toRow} of [${heightOf(to)}, ${width}]`);
  }
  const first = byteLengthOf(to.type, toRow * width);
  checkRangeApart('copyRows', to, first, from.byteLength, from);
}

export function checkColumn(x: Tensor, column: number, out: Tensor): void {
  checkRowMajor('column', x, 'f32', 'i32');
  checkRowMajor('column', out, x.type);
  const [rows, width] = [heightOf(x), widthOf(x)];
  if (elements(out.shape) !== rows || !Number.isInteger(column) || column < 0 || column >= width) {
    throw shapeError('column', `column ${column} of [${rows}, ${width}] into ${elements(out.shape)}`);
  }
  checkApart('column', out, x);
}

export function checkCast(from: Tensor, to: Tensor): void {
  checkRowMajor('cast', from, 'f32', 'f16', 'bf16');
  checkRowMajor('cast', to, 'f32', 'f16', 'bf16');
  const n = elements(from.shape);
  if (n !== elements(to.shape)) throw shapeError('cast', `${n} elements to ${elements(to.shape)}`);
  if (from.type !== to.type && from.type !== 'f32' && to.type !== 'f32') {
    throw shapeError('cast', `${from.type} to ${to.type} must go by f32`);
  }
  checkApart('cast', to, from);
}
