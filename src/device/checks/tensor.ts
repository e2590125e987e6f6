/** What the checks of all operations are made of. They look at tensors alone, allocate nothing, and run thousands of times a second. */
import { EspalierError } from '../../errors.ts';
import type { ElementType, Tensor } from '../device.ts';

export function elements(shape: readonly number[]): number {
  let n = 1;
  for (const size of shape) n *= size;
  return n;
}

/** Length of the last dimension. */
export function widthOf({ shape }: Tensor): number {
  return shape.length === 0 ? 1 : shape[shape.length - 1]!;
}

/** How many rows of that length there are. */
export function heightOf({ shape }: Tensor): number {
  let rows = 1;
  for (let i = 0; i < shape.length - 1; i++) rows *= shape[i]!;
  return rows;
}

export function shapeError(operation: string, message: string): EspalierError {
  return new EspalierError('E_SHAPE', `${operation}: ${message}.`, 'See the shapes in src/device/device.ts.');
}

/** A row-major tensor, of one of the given types if any is given. @throws E_SHAPE, E_DISPOSED */
export function checkRowMajor(operation: string, t: Tensor, a?: ElementType, b?: ElementType, c?: ElementType): void {
  checkAlive(operation, t);
  if (t.layout !== 'rows') throw shapeError(operation, 'got a weight in panels where a row-major tensor is needed');
  if (a !== undefined && t.type !== a && t.type !== b && t.type !== c) {
    const wanted = [a, b, c].filter((type) => type !== undefined);
    throw shapeError(operation, `got ${t.type}, needs ${wanted.join(' or ')}`);
  }
}

/** Row-major tensors of f32, those that there are. @throws E_SHAPE, E_DISPOSED */
export function checkFloats(
  operation: string,
  a: Tensor | null,
  b: Tensor | null = null,
  c: Tensor | null = null,
  d: Tensor | null = null,
): void {
  if (a) checkRowMajor(operation, a, 'f32');
  if (b) checkRowMajor(operation, b, 'f32');
  if (c) checkRowMajor(operation, c, 'f32');
  if (d) checkRowMajor(operation, d, 'f32');
}

/** Row-major tensors of i32, those that there are. @throws E_SHAPE, E_DISPOSED */
export function checkInts(operation: string, a: Tensor, b: Tensor | null = null, c: Tensor | null = null): void {
  checkRowMajor(operation, a, 'i32');
  if (b) checkRowMajor(operation, b, 'i32');
  if (c) checkRowMajor(operation, c, 'i32');
}

/** A weight in panels: [N, K], or a stack [E, N, K]. @throws E_SHAPE, E_DISPOSED */
export function checkPanels(operation: string, t: Tensor, dimensions: 2 | 3): void {
  checkAlive(operation, t);
  if (t.layout !== 'panels' || t.shape.length !== dimensions) {
    throw shapeError(operation, `needs a weight made by ${dimensions === 2 ? 'loadMatrix' : 'loadMatrices'}`);
  }
}

function checkAlive(operation: string, t: Tensor): void {
  if (!t.disposed) return;
  throw new EspalierError(
    'E_DISPOSED',
    `${operation}: a tensor was used after dispose().`,
    'Keep a tensor, cache or model open until the last operation on it has been called.',
  );
}

/** What is written shares no memory with other tensors of the operation, those that there are. @throws E_SHAPE */
export function checkApart(
  operation: string,
  written: Tensor,
  a: Tensor | null,
  b: Tensor | null = null,
  c: Tensor | null = null,
  d: Tensor | null = null,
): void {
  if (meets(written, a) || meets(written, b) || meets(written, c) || meets(written, d)) throw shared(operation);
}

/** The same, but that it may be that tensor. A part of it is none: a row would be read after it was written. @throws E_SHAPE */
export function checkApartOrSame(operation: string, written: Tensor, other: Tensor | null): void {
  if (other && !isSame(written, other)) checkApart(operation, written, other);
}

/** The same for a part of what `written` is a view of, from a byte of it on. @throws E_SHAPE */
export function checkRangeApart(operation: string, written: Tensor, from: number, bytes: number, other: Tensor): void {
  if (overlap(other, written.storage, written.offset + from, bytes)) throw shared(operation);
}

function isSame(a: Tensor, b: Tensor): boolean {
  return a.storage === b.storage && a.offset === b.offset && a.byteLength === b.byteLength && a.type === b.type;
}

function meets(written: Tensor, other: Tensor | null): boolean {
  return other !== null && overlap(written, other.storage, other.offset, other.byteLength);
}

function overlap(a: Tensor, storage: object, offset: number, bytes: number): boolean {
  if (a.storage !== storage) return false;
  return Math.max(a.offset, offset) < Math.min(a.offset + a.byteLength, offset + bytes);
}

function shared(operation: string): EspalierError {
  return shapeError(operation, 'what it writes shares memory with another of its tensors');
}
