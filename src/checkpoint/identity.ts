import { createHasher } from '../runtime/hash.ts';
import type { Checkpoint, TensorEntry } from './types.ts';

/** Bytes of each tensor that are looked at, at three places: its start, its middle and its end. */
const SAMPLE = 4096;
/** Tensors that are read at once. */
const AT_ONCE = 32;

/**
 * What tells a checkpoint from another: its configuration, and its tensors by name, type, shape, place and samples of their bytes. Not a
 * hash of all bytes: a change of a few weights in the middle of a tensor need not show.
 * @throws E_FILE_READ, E_CHECKPOINT_TRUNCATED
 */
export async function checkpointIdentity(checkpoint: Checkpoint): Promise<string> {
  const hasher = await createHasher('sha256');
  const text = (value: unknown) => hasher.update(new TextEncoder().encode(JSON.stringify(value)));
  const { rope } = checkpoint.config;
  text([1, checkpoint.format, checkpoint.byteLength, checkpoint.config, [...(rope.frequencyDivisors ?? [])]]);
  const entries = [...checkpoint.tensors.values()];
  for (let i = 0; i < entries.length; i += AT_ONCE) {
    const some = entries.slice(i, i + AT_ONCE);
    const samples = await Promise.all(some.map(sampleOf));
    for (const [k, { name, type, shape, offset, byteLength, rowOrder }] of some.entries()) {
      text([name, type, shape, offset, byteLength, rowOrder]);
      for (const sample of samples[k]!) hasher.update(sample);
    }
  }
  return hasher.hex();
}

function sampleOf({ source, offset, byteLength }: TensorEntry): Promise<Uint8Array[]> {
  const size = Math.min(SAMPLE, byteLength);
  const starts = [...new Set([0, Math.floor((byteLength - size) / 2), byteLength - size])];
  return Promise.all(
    starts.map(async (start) => {
      const bytes = new Uint8Array(size);
      await source.readInto(offset + start, bytes);
      return bytes;
    }),
  );
}
