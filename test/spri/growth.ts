/** What the tests of growing share: jobs in memory, digests, tensors of the source and of the result. */

import { dequantise } from '../../src/checkpoint/dequantise.ts';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import type { Checkpoint } from '../../src/checkpoint/types.ts';
import { memoryOutput, type Receipt, type UpcycleOptions, upcycle } from '../../src/grow.ts';
import type { ModelTarget } from '../../src/runtime/files.ts';
import { createHasher } from '../../src/runtime/hash.ts';

export interface Growth {
  readonly receipt: Receipt;
  readonly files: Record<string, Blob>;
}

/** Grows into memory. */
export async function grown(source: ModelTarget, options: Omit<UpcycleOptions, 'out'> = {}): Promise<Growth> {
  const out = memoryOutput('grown');
  const receipt = await upcycle(source, { ...options, out });
  return { receipt, files: out.result() };
}

export async function digest(content: Blob | Uint8Array): Promise<string> {
  const hasher = await createHasher('sha256');
  hasher.update(content instanceof Uint8Array ? content : new Uint8Array(await content.arrayBuffer()));
  return hasher.hex();
}

/** Digests of all files by name. */
export async function digests(files: Readonly<Record<string, Blob>>): Promise<Record<string, string>> {
  const entries = Object.keys(files)
    .sort()
    .map(async (name) => [name, await digest(files[name]!)] as const);
  return Object.fromEntries(await Promise.all(entries));
}

export async function opened<T>(target: ModelTarget, use: (checkpoint: Checkpoint) => Promise<T>): Promise<T> {
  const checkpoint = await openCheckpoint(target);
  try {
    return await use(checkpoint);
  } finally {
    await checkpoint.close();
  }
}

/** The bytes of a tensor as they are stored. */
export async function storedTensor(checkpoint: Checkpoint, name: string): Promise<Uint8Array> {
  const entry = checkpoint.tensors.get(name);
  if (!entry) throw new Error(`There is no ${name}.`);
  const bytes = new Uint8Array(entry.byteLength);
  await entry.source.readInto(entry.offset, bytes);
  return bytes;
}

export async function tensorValues(checkpoint: Checkpoint, name: string): Promise<Float32Array> {
  const { type, shape } = checkpoint.tensors.get(name)!;
  return dequantise(
    type,
    await storedTensor(checkpoint, name),
    shape.reduce((product, n) => product * n, 1),
  );
}
