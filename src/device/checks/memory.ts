import { BLOCK_SIZE, byteLengthOf } from '../../element-types.ts';
import { EspalierError } from '../../errors.ts';
import type { ElementType, Tensor, TensorData, WeightSource } from '../device.ts';
import { checkPanels, checkRowMajor, elements, heightOf, shapeError } from './tensor.ts';

/** Bytes of a row-major tensor. @throws E_SHAPE for a type or a shape that there is not */
export function bytesOf(type: ElementType, shape: readonly number[]): number {
  if (BLOCK_SIZE[type].elements !== 1) throw shapeError('tensor', `${type} exists only as a weight in panels`);
  if (!shape.every((n) => Number.isSafeInteger(n) && n >= 0)) throw shapeError('tensor', `shape [${shape.join(', ')}]`);
  return byteLengthOf(type, elements(shape));
}

export function checkRows(t: Tensor, first: number, count: number): void {
  checkRowMajor('rows', t);
  const rows = heightOf(t);
  if (!(Number.isInteger(first) && Number.isInteger(count) && first >= 0 && count >= 0 && first + count <= rows)) {
    throw shapeError('rows', `${first} + ${count} of ${rows} rows`);
  }
}

export function checkWrite(t: Tensor, data: TensorData, offset: number): void {
  checkRowMajor('write', t);
  const size = byteLengthOf(t.type, 1);
  if (size !== data.BYTES_PER_ELEMENT) throw shapeError('write', `${data.constructor.name} into ${t.type}`);
  if (!(Number.isInteger(offset) && offset >= 0 && offset * size + data.byteLength <= t.byteLength)) {
    throw shapeError('write', 'data beyond the tensor');
  }
}

export function checkWriteBytes(t: Tensor, bytes: Uint8Array): void {
  checkRowMajor('writeBytes', t);
  if (bytes.byteLength !== t.byteLength) {
    throw shapeError('writeBytes', `${bytes.byteLength} bytes into ${t.byteLength}`);
  }
}

export function checkRead(t: Tensor): void {
  checkRowMajor('read', t);
  if (t.type === 'i8') throw shapeError('read', 'got i8, which readBytes gives');
}

export function checkMatrices(sources: readonly WeightSource[]): void {
  const [first] = sources;
  if (first === undefined) throw shapeError('loadMatrices', 'there is no matrix');
  for (const other of sources) {
    if (other.rows === first.rows && other.columns === first.columns && other.type === first.type) continue;
    const [a, b] = [first, other].map((s) => `${s.name} is ${s.type} [${s.rows}, ${s.columns}]`);
    throw shapeError('loadMatrices', `${a}, and ${b}`);
  }
}

export function checkMatrix(stack: Tensor, index: number): void {
  checkPanels('matrix', stack, 3);
  const count = stack.shape[0]!;
  if (!(Number.isInteger(index) && index >= 0 && index < count)) throw shapeError('matrix', `${index} of ${count}`);
}

/** @throws E_TENSOR_TYPE */
export function checkVector(source: WeightSource): void {
  if (source.type === 'f32' || source.type === 'f16' || source.type === 'bf16') return;
  throw new EspalierError(
    'E_TENSOR_TYPE',
    `The vector ${source.name} is stored as ${source.type}.`,
    'Norms and biases must be stored as f32, f16 or bf16.',
  );
}

/** Of a weight that was read. */
export function notFinite(name: string): EspalierError {
  return new EspalierError(
    'E_TENSOR_VALUE',
    `The weight ${name} holds a NaN or an infinity.`,
    'The checkpoint is damaged or was saved from a diverged training run; get it again.',
  );
}
