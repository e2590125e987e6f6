import type { Checkpoint } from '../checkpoint/types.ts';
import { createHasher } from '../runtime/hash.ts';

/** Bytes of each tensor that are looked at. */
const SAMPLE = 4096;

/**
 * What decides the content of a job's output: its options, and the source by names, types, shapes, places and a sample of
 * each tensor's bytes. A journal of another identity is not resumed.
 */
export async function sourceIdentity(checkpoint: Checkpoint, options: unknown): Promise<string> {
  const hasher = await createHasher('sha256');
  const text = (value: unknown) => hasher.update(new TextEncoder().encode(JSON.stringify(value)));
  text([1, options, checkpoint.format, checkpoint.config]);
  for (const { name, type, shape, offset, byteLength, source } of checkpoint.tensors.values()) {
    text([name, type, shape, offset, byteLength]);
    const sample = new Uint8Array(Math.min(SAMPLE, byteLength));
    await source.readInto(offset, sample);
    hasher.update(sample);
  }
  return hasher.hex();
}
