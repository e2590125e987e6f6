import { withContext } from '../../src/checkpoint/config/context-length.ts';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import type { Checkpoint } from '../../src/checkpoint/types.ts';
import type { Device, Precision } from '../../src/device/device.ts';
import { Decoder } from '../../src/model/decoder.ts';
import type { KvCache } from '../../src/model/kv-cache.ts';
import { loadWeights } from '../../src/model/weights.ts';
import type { ModelTarget } from '../../src/runtime/files/model-files.ts';
import { list, modelTarget } from '../files.ts';
import { readArrays } from './arrays.ts';

/** Small models with random weights and what transformers computes for them (test/oracles/tiny_models.py, tiny_moe.py). */
const folder = 'test/fixtures/tiny';

const names = await list(folder);
/** Dense ones, and mixtures of experts. */
export const tinyNames: readonly string[] = names.filter((name) => !name.startsWith('moe-'));
export const moeNames: readonly string[] = names.filter((name) => name.startsWith('moe-'));

/** Lengths that references were computed at, where frequencies depend on it. */
const LENGTHS: Readonly<Record<string, number>> = { 'llama-rope-dynamic': 64 };

/** A checkpoint with the context that its reference has. */
export function inContext(name: string, checkpoint: Checkpoint): Checkpoint {
  return { ...checkpoint, config: withContext(checkpoint.config, LENGTHS[name]) };
}

export function tinyTarget(name: string): Promise<ModelTarget> {
  return modelTarget(`${folder}/${name}${name.startsWith('gguf-') ? '/model.gguf' : ''}`);
}

export interface TinyReference {
  readonly ids: number[];
  /** [T, vocab] */
  readonly logits: Float32Array;
  /** The 32 likeliest tokens behind the first 24 ids; empty where the reference has none. */
  readonly greedy: number[];
  /** The residual stream [T, hidden] after the embedding and after each layer. */
  readonly hidden: Float32Array[];
}

export async function tinyReference(name: string): Promise<TinyReference> {
  const arrays = await readArrays(`${folder}/${name}/reference.safetensors`);
  const floats = (key: string) => arrays.get(key)!.data as Float32Array;
  const hidden: Float32Array[] = [];
  while (arrays.has(`hidden.${hidden.length}`)) hidden.push(floats(`hidden.${hidden.length}`));
  const ints = (key: string) => [...((arrays.get(key)?.data ?? []) as Int32Array)];
  return { ids: ints('ids'), logits: floats('logits'), greedy: ints('greedy'), hidden };
}

/** For texts longer than those that a tiny model was made with. */
export const withPositions =
  (maxPositions: number) =>
  (checkpoint: Checkpoint): Checkpoint => ({ ...checkpoint, config: { ...checkpoint.config, maxPositions } });

/** A decoder on the device; `change` may put another checkpoint in place of the one that was read. */
export async function tinyDecoder(
  name: string,
  device: Device,
  precision: Precision,
  change: (checkpoint: Checkpoint) => Checkpoint | Promise<Checkpoint> = (c) => c,
): Promise<Decoder> {
  const checkpoint = await openCheckpoint(await tinyTarget(name));
  try {
    const changed = await change(inContext(name, checkpoint));
    return new Decoder(device, changed.config, await loadWeights(device, changed), precision);
  } finally {
    await checkpoint.close();
  }
}

/** Logits [T, vocab] of ids behind what the cache holds. */
export async function logitsOf(
  decoder: Decoder,
  cache: KvCache,
  ids: readonly number[],
  options: { positions?: readonly number[]; mask?: Int32Array } = {},
): Promise<Float32Array> {
  const { device } = decoder;
  const { vocabSize } = decoder.config;
  const logits = new Float32Array(ids.length * vocabSize);
  await decoder.forward(ids, cache, {
    ...options,
    onChunk: async (normed, first) => {
      logits.set((await device.read(decoder.logits(normed))) as Float32Array, first * vocabSize);
    },
  });
  return logits;
}
