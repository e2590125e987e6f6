/** What the tests of growing share: jobs in memory, digests, tensors of the source and of the result. */

import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { dequantise } from '../../src/checkpoint/quantised/dequantise.ts';
import type { Checkpoint } from '../../src/checkpoint/types.ts';
import { type GrowOptions, grow, memoryOutput, type Receipt } from '../../src/grow.ts';
import { createHasher } from '../../src/runtime/files/hash.ts';
import type { ModelTarget } from '../../src/runtime/files/model-files.ts';
import { list, readBytes } from '../files.ts';

export interface Growth {
  readonly receipt: Receipt;
  readonly files: Record<string, Blob>;
}

/** Grows into memory. */
export async function grown(source: ModelTarget, options: Omit<GrowOptions, 'out'> = {}): Promise<Growth> {
  const out = memoryOutput('grown');
  const receipt = await grow(source, { ...options, out });
  return { receipt, files: out.result() };
}

/** The embedded model with its first layers alone, which grows in a part of the time. */
export async function firstLayers(count: number): Promise<Record<string, Uint8Array>> {
  const folder = 'models/nano-base';
  const files = Object.fromEntries(
    await Promise.all((await list(folder)).map(async (name) => [name, await readBytes(`${folder}/${name}`)] as const)),
  );
  const whole = files['model.safetensors']!;
  const begin = 8 + new DataView(whole.buffer, whole.byteOffset).getUint32(0, true);
  const entries: [string, { data_offsets: [number, number] }][] = Object.entries(
    JSON.parse(new TextDecoder().decode(whole.subarray(8, begin))),
  );
  const header: Record<string, unknown> = {};
  const parts: Uint8Array[] = [];
  let at = 0;
  for (const [name, entry] of entries) {
    if (name === '__metadata__' || Number(/layers\.(\d+)\./.exec(name)?.[1] ?? 0) >= count) continue;
    const [from, to] = entry.data_offsets;
    header[name] = { ...entry, data_offsets: [at, at + to - from] };
    parts.push(whole.subarray(begin + from, begin + to));
    at += to - from;
  }
  const text = new TextEncoder().encode(JSON.stringify(header));
  const start = 8 + 8 * Math.ceil(text.length / 8);
  const file = new Uint8Array(start + at).fill(32, 8, start);
  new DataView(file.buffer).setUint32(0, start - 8, true);
  file.set(text, 8);
  let place = start;
  for (const part of parts) {
    file.set(part, place);
    place += part.length;
  }
  const config = JSON.parse(new TextDecoder().decode(files['config.json']!));
  const json = new TextEncoder().encode(JSON.stringify({ ...config, num_hidden_layers: count }));
  return { ...files, 'config.json': json, 'model.safetensors': file };
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
