import { byteLengthOf } from '../../element-types.ts';
import { EspalierError, throwIfAborted } from '../../errors.ts';
import { allFinite } from '../finite.ts';
import { dequantise } from '../quantised/dequantise.ts';
import { floatToHalf } from '../quantised/half.ts';
import { type RowOrder, storedRow } from '../row-order.ts';
import type { TensorEntry } from '../types.ts';
import type { OutputType } from './shards.ts';

/** Bytes that are read at a time. */
const PIECE = 4 << 20;

export interface ReadOptions {
  /** Size of an attention head: rows of a permuted tensor stay within theirs. */
  readonly headDim: number;
  readonly signal?: AbortSignal | undefined;
}

/** Whether the stored bytes are those of the tensor as `type` in Hugging Face's order. */
export function isVerbatim(entry: TensorEntry, type: OutputType, scale = 1): boolean {
  return entry.type === type && entry.rowOrder === 'plain' && scale === 1;
}

/** The stored bytes, in pieces. */
export async function* storedBytes(entry: TensorEntry, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < entry.byteLength; at += PIECE) {
    throwIfAborted(signal);
    const piece = new Uint8Array(Math.min(PIECE, entry.byteLength - at));
    await entry.source.readInto(entry.offset + at, piece);
    yield piece;
  }
}

/** Values as f32 in Hugging Face's order, in pieces of whole rows. */
export async function* decodedRows(entry: TensorEntry, options: ReadOptions): AsyncGenerator<Float32Array> {
  const columns = entry.shape.at(-1)!;
  const rows = entry.shape.reduce((product, n) => product * n, 1) / columns;
  const permuted = entry.rowOrder !== 'plain';
  const unit = permuted ? options.headDim : 1;
  // a vector is one row of many columns to a format of blocks, and many rows of one to a permutation of its elements
  const [count, width] = permuted && entry.shape.length === 1 ? [columns, 1] : [rows, columns];
  const rowBytes = byteLengthOf(entry.type, width);
  const step = Math.max(unit, Math.floor(PIECE / rowBytes / unit) * unit);
  for (let first = 0; first < count; first += step) {
    throwIfAborted(options.signal);
    const some = Math.min(step, count - first);
    const bytes = new Uint8Array(some * rowBytes);
    await entry.source.readInto(entry.offset + first * rowBytes, bytes);
    const values = dequantise(entry.type, bytes, some * width);
    yield permuted ? inPlainOrder(values, entry.rowOrder, width, options.headDim) : values;
  }
}

function inPlainOrder(stored: Float32Array, order: RowOrder, width: number, headDim: number): Float32Array {
  const out = new Float32Array(stored.length);
  for (let row = 0; row < stored.length / width; row++) {
    const from = storedRow(order, row, headDim) * width;
    out.set(stored.subarray(from, from + width), row * width);
  }
  return out;
}

/** The whole tensor as f32. @throws E_TENSOR_VALUE for NaN and infinity */
export async function decodedTensor(entry: TensorEntry, options: ReadOptions): Promise<Float32Array> {
  const values = new Float32Array(entry.shape.reduce((product, n) => product * n, 1));
  let at = 0;
  for await (const piece of decodedRows(entry, options)) {
    values.set(piece, at);
    at += piece.length;
  }
  checkFinite(values, entry.name);
  return values;
}

/** The tensor times `scale` as `type`, in pieces: verbatim where it can be, else by f32, rounded once to nearest even. */
export async function* convertedBytes(
  entry: TensorEntry,
  type: OutputType,
  scale: number,
  options: ReadOptions,
): AsyncGenerator<Uint8Array> {
  if (isVerbatim(entry, type, scale)) {
    yield* storedBytes(entry, options.signal);
    return;
  }
  for await (const values of decodedRows(entry, options)) {
    if (scale !== 1) {
      checkFinite(values, entry.name);
      for (let i = 0; i < values.length; i++) values[i]! *= scale;
      if (!allFinite(values)) throw beyondType(`${entry.name}, times ${scale},`, type);
    }
    yield castBytes(values, type, entry.name);
  }
}

/** Rounded to nearest even. @throws E_TENSOR_VALUE for NaN, infinity, and what `type` cannot hold */
export function castBytes(values: Float32Array, type: OutputType, name: string): Uint8Array {
  if (type === 'f32') {
    checkFinite(values, name);
    return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  }
  const out = new Uint16Array(values.length);
  // an exponent of ones is NaN or infinity, in what came or by rounding
  let beyond = false;
  if (type === 'bf16') {
    const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
    for (let i = 0; i < bits.length; i++) {
      const x = bits[i]!;
      const half = (x + 0x7fff + ((x >>> 16) & 1)) >>> 16;
      out[i] = half;
      if ((half & 0x7f80) === 0x7f80) beyond = true;
    }
  } else {
    for (let i = 0; i < out.length; i++) {
      const half = floatToHalf(values[i]!);
      out[i] = half;
      if ((half & 0x7c00) === 0x7c00) beyond = true;
    }
  }
  if (beyond) {
    checkFinite(values, name);
    throw beyondType(name, type);
  }
  return new Uint8Array(out.buffer);
}

/** Of tensors that are copied as they are. @throws E_TENSOR_VALUE for NaN and infinity: an exponent of ones */
export function checkStored(bytes: Uint8Array, type: OutputType, name: string): void {
  if (!holdsNumbers(bytes, type)) throw notFinite(name);
}

/** Whether numbers of a type, little-endian and aligned, are free of NaN and infinity. */
export function holdsNumbers({ buffer, byteOffset, byteLength }: Uint8Array, type: OutputType): boolean {
  if (type === 'f32') return allFinite(new Float32Array(buffer, byteOffset, byteLength / 4));
  const exponent = type === 'bf16' ? 0x7f80 : 0x7c00;
  const halves = new Uint16Array(buffer, byteOffset, byteLength / 2);
  for (let i = 0; i < halves.length; i++) if ((halves[i]! & exponent) === exponent) return false;
  return true;
}

function checkFinite(values: Float32Array, name: string): void {
  if (!allFinite(values)) throw notFinite(name);
}

function beyondType(name: string, type: OutputType): EspalierError {
  const hint = type === 'f16' ? 'Write bf16 or f32.' : 'Look at the weights of the source.';
  return new EspalierError('E_TENSOR_VALUE', `${name} has a value beyond ${type}.`, hint);
}

function notFinite(name: string): EspalierError {
  return new EspalierError(
    'E_TENSOR_VALUE',
    `${name} has NaN or infinity in it.`,
    'Get the checkpoint again, or one before it broke in training.',
  );
}
