import { EspalierError } from '../../errors.ts';
import { allFinite } from '../finite.ts';
import { dequantise } from '../quantised/dequantise.ts';
import type { TensorEntry } from '../types.ts';

/** A factor as it is stored, and in f32. @throws E_TENSOR_VALUE for NaN and infinity, E_FILE_READ, E_CHECKPOINT_TRUNCATED */
export async function factorValues(entry: TensorEntry): Promise<{ bytes: Uint8Array; values: Float32Array }> {
  const bytes = new Uint8Array(entry.byteLength);
  await entry.source.readInto(entry.offset, bytes);
  const values = dequantise(
    entry.type,
    bytes,
    entry.shape.reduce((x, y) => x * y, 1),
  );
  if (allFinite(values)) return { bytes, values };
  const hint = 'Its training has diverged, or the file is damaged.';
  throw new EspalierError('E_TENSOR_VALUE', `${entry.name} holds numbers that are not finite.`, hint);
}
