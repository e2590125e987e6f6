/** Tensors in pieces that a binding holds: a GPU binds a part of a large buffer only, 128 MiB of it by default. */
import { elements, heightOf } from '../checks/tensor.ts';
import type { Tensor } from '../device.ts';
import type { Bound } from './commands.ts';
import { outOfMemory } from './context.ts';
import type { GpuTensor } from './tensor.ts';

/** Some bytes of a tensor. */
export function part({ memory, offset }: Bound, from: number, byteLength: number): Bound {
  return { memory, offset: offset + from, byteLength };
}

/** Some elements of several tensors. */
export interface Piece {
  readonly bound: readonly Bound[];
  readonly first: number;
  readonly count: number;
}

/** Tensors of f32 and of equal length, whose elements go together. */
export function byElements(bindingLimit: number, tensors: readonly Tensor[]): Piece[] {
  return byGroups(bindingLimit, tensors, 64);
}

/** The same, `width` elements together in one piece. */
export function byGroups(bindingLimit: number, tensors: readonly Tensor[], width: number): Piece[] {
  const all = elements(tensors[0]!.shape);
  // a binding begins at a multiple of 256
  const most = width * Math.max(1, Math.floor((bindingLimit - 256) / (4 * Math.max(1, width))));
  const pieces: Piece[] = [];
  for (let first = 0; first < all; first += most) {
    const count = Math.min(most, all - first);
    pieces.push({ bound: tensors.map((t) => part(t as GpuTensor, 4 * first, 4 * count)), first, count });
  }
  return pieces;
}

/**
 * Tensors in pieces of rows that a binding holds. The first says how many rows there are; of a vector beside it a row is one number. @param scratch
 * bytes of a row of what else is bound
 */
export function byRows(
  bindingLimit: number,
  tensors: readonly Tensor[],
  scratch = 1,
): { readonly bound: readonly Bound[]; readonly first: number; readonly rows: number }[] {
  const height = heightOf(tensors[0]!);
  const widest = Math.max(...tensors.map((t) => t.byteLength / Math.max(1, height)), scratch, 1);
  const most = Math.max(1, Math.floor((bindingLimit - 256) / widest)); // a binding begins at a multiple of 256
  const pieces: { bound: Bound[]; first: number; rows: number }[] = [];
  for (let first = 0; first < height; first += most) {
    const rows = Math.min(most, height - first);
    const bound = tensors.map((t) => {
      const bytes = t.byteLength / height;
      return part(t as GpuTensor, first * bytes, rows * bytes);
    });
    pieces.push({ bound, first, rows });
  }
  return pieces;
}

/** Rows of so many bytes each that a binding holds, which begins at a multiple of 256. @throws E_OUT_OF_MEMORY */
export function rowsOf(operation: string, limit: number, bytes: number): number {
  const rows = Math.floor((limit - 256) / bytes);
  if (rows < 1) throw outOfMemory(`${operation} needs ${bytes} bytes in one piece; this GPU binds ${limit}.`);
  return rows;
}
