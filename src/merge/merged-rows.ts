import { factorValues } from '../checkpoint/adapter/values.ts';
import type { TensorEntry } from '../checkpoint/types.ts';
import type { OutputType } from '../checkpoint/write/shards.ts';
import { castBytes, decodedRows, type ReadOptions } from '../checkpoint/write/source-tensors.ts';
import type { Device, Tensor } from '../device/device.ts';
import { ByteDigest } from '../runtime/files/byte-digest.ts';
import { sha256 } from '../runtime/files/hash.ts';

/** What is added to a matrix [N, K]: scale · B A. */
export interface MergedTerm {
  readonly a: TensorEntry; // [r, K]
  readonly b: TensorEntry; // [N, r]
  readonly scale: number;
}

/**
 * W + Σ scale · B A in pieces of whole rows: f32 products added to f32 weights, rounded once to the type. An element is a sum of its own, so
 * that pieces and lanes change no bit.
 */
export async function* mergedBytes(
  device: Device,
  entry: TensorEntry,
  terms: readonly MergedTerm[],
  type: OutputType,
  options: ReadOptions,
): AsyncGenerator<Uint8Array> {
  const made: Tensor[] = [];
  const put = async (factor: TensorEntry): Promise<Tensor> => {
    const tensor = device.tensor('f32', factor.shape);
    made.push(tensor);
    device.write(tensor, (await factorValues(factor)).values);
    return tensor;
  };
  try {
    const factors: { a: Tensor; b: Tensor; scale: number }[] = [];
    for (const { a, b, scale } of terms) factors.push({ a: await put(a), b: await put(b), scale });
    const columns = entry.shape[1]!;
    let first = 0;
    for await (const values of decodedRows(entry, options)) {
      const rows = values.length / columns;
      const mark = device.mark();
      const sum = device.scratch('f32', [rows, columns]);
      device.write(sum, values);
      for (const { a, b, scale } of factors) {
        device.matmul(device.rows(b, first, rows), a, sum, { alpha: scale, accumulate: true });
      }
      const merged = (await device.read(sum)) as Float32Array;
      device.reset(mark);
      first += rows;
      yield castBytes(merged, type, entry.name);
    }
  } finally {
    for (const tensor of made) tensor.dispose();
  }
}

/** What tells terms from others: all bytes of their factors, and what these are multiplied by. */
export async function factorsIdentity(terms: ReadonlyMap<string, readonly MergedTerm[]>): Promise<string> {
  const told: unknown[] = [];
  for (const [name, list] of terms) {
    for (const { a, b, scale } of list) {
      told.push(name, scale);
      for (const factor of [a, b]) {
        const digest = new ByteDigest();
        await digest.update((await factorValues(factor)).bytes);
        told.push(factor.type, factor.shape, await digest.hex());
      }
    }
  }
  return sha256(JSON.stringify(told));
}
