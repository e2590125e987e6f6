import type { Tensor } from '../../device/device.ts';
import type { Decoder } from '../../model/decoder.ts';
import type { KvCache } from '../../model/kv-cache.ts';
import { featureLayers, KINDS, kindWeights } from '../rank/ridge/features.ts';
import type { StorageType } from '../types.ts';
import { StoredShot } from './stored.ts';

/** Rows that go through the layers together under a mask. */
export const MOST_ROWS = 512;

export interface EncodeOptions {
  readonly storage: StorageType;
  /** Rows of the cache that every shot sees: the prefix, or 0. */
  readonly seen: number;
  readonly signal?: AbortSignal | undefined;
  /** Tokens that are through, in part: after each layer. */
  readonly onTokens?: ((tokens: number) => void) | undefined;
}

export interface Encoded {
  readonly shot: StoredShot;
  /** Of each shot of the unit. */
  readonly pooled: readonly PooledKeys[];
}

/** What ranking looks at, of keys before RoPE. */
export interface PooledKeys {
  /** Mean key by layer, [layers · nKvHeads · headDim]: of all tokens but the first, a sink. */
  readonly keys: Float32Array;
  /** Of the prompt alone, as a query has it too: [feature layers, kinds, nKvHeads · headDim]; see `featureLayers`. */
  readonly features: Float32Array;
}

/** Tokens of a shot, of which the first `prompt` stand before its answer. */
export interface UnitShot {
  readonly ids: readonly number[];
  readonly prompt: number;
}

/** Shots of a unit: one, or a block whose shots see those before them. */
export type Unit = readonly UnitShot[];

/**
 * Keys and values of units that do not see each other, from one forward pass for every 512 tokens. They are computed behind what the
 * cache holds, which holds the same afterwards.
 * @throws E_CONTEXT_LENGTH, E_OUT_OF_MEMORY, E_ABORTED; nothing stays allocated then
 */
export async function encodeUnits(
  decoder: Decoder,
  cache: KvCache,
  units: readonly Unit[],
  { storage, seen, signal, onTokens }: EncodeOptions,
): Promise<Encoded[]> {
  const { device, config } = decoder;
  const { nLayers, nKvHeads, headDim } = config;
  const width = nKvHeads * headDim;
  const before = cache.length;
  const shots: StoredShot[] = [];
  const pooledRows = units.reduce((sum, unit) => sum + unit.length, 0);
  const looked = featureLayers(nLayers);
  let pooled: Tensor | null = null;
  let prompts: Tensor | null = null;
  try {
    for (const unit of units) shots.push(new StoredShot(device, config, lengthOf(unit), storage));
    pooled = device.tensor('f32', [nLayers * pooledRows, width]);
    prompts = device.tensor('f32', [looked.length * pooledRows * KINDS, width]);
    const [means, features] = [pooled, prompts];
    const { ids, positions, starts, weights } = layOut(units, seen);
    for (let first = 0; first < ids.length; first += MOST_ROWS) {
      const count = Math.min(MOST_ROWS, ids.length - first);
      const mask = new Int32Array(3 * count);
      for (let i = 0; i < count; i++) mask.set([0, seen, before + starts[first + i]!], 3 * i);
      const parts = segments(units, first, count);
      const mean = device.tensor('f32', [pooledRows * (1 + KINDS), count]);
      const ofShots = device.rows(mean, 0, pooledRows);
      const ofPrompts = device.rows(mean, pooledRows, pooledRows * KINDS);
      try {
        device.write(mean, share(weights, first, count, pooledRows));
        await decoder.forward(ids.slice(first, first + count), cache, {
          mask,
          positions: positions.slice(first, first + count),
          signal,
          output: 'last',
          onKeys: (layer, keys, values) => {
            for (const { unit, at, row, rows } of parts) {
              const shot = shots[unit]!;
              const to = layer * shot.length + at;
              device.storeRows(device.rows(keys, row, rows), shot.keys, to, nKvHeads);
              device.storeRows(device.rows(values, row, rows), shot.values, to, nKvHeads);
            }
            device.matmul(ofShots, keys, device.rows(means, layer * pooledRows, pooledRows), { accumulate: true });
            const place = looked.indexOf(layer) * pooledRows * KINDS;
            if (place >= 0) {
              device.matmul(ofPrompts, keys, device.rows(features, place, pooledRows * KINDS), { accumulate: true });
            }
            onTokens?.(first + (count * (layer + 1)) / nLayers);
          },
        });
      } finally {
        mean.dispose();
      }
    }
    const [all, of] = (await device.read([means, features])) as [Float32Array, Float32Array];
    let next = 0;
    return units.map((unit, i) => ({
      shot: shots[i]!,
      pooled: unit.map(() => {
        const row = next++;
        return {
          keys: gathered(all, nLayers, pooledRows, row, width),
          features: gathered(of, looked.length, pooledRows, row, KINDS * width),
        };
      }),
    }));
  } catch (error) {
    for (const shot of shots) shot.dispose();
    throw error;
  } finally {
    pooled?.dispose();
    prompts?.dispose();
    cache.truncate(before);
  }
}

/** Of [layers, shots, width] one shot's, by layer. */
function gathered(all: Float32Array, layers: number, shots: number, shot: number, width: number): Float32Array {
  const own = new Float32Array(layers * width);
  for (let layer = 0; layer < layers; layer++) {
    const from = (layer * shots + shot) * width;
    own.set(all.subarray(from, from + width), layer * width);
  }
  return own;
}

function lengthOf(unit: Unit): number {
  return unit.reduce((sum, { ids }) => sum + ids.length, 0);
}

/** A token's part in the vectors of a shot. */
interface Weights {
  readonly shot: number;
  /** In the mean of the shot. */
  readonly mean: number;
  /** In each of the prompt's vectors. */
  readonly prompt: readonly number[];
}

const NONE: readonly number[] = new Array(KINDS).fill(0);

/** All tokens one after another: their positions, the row at which their unit starts, and to whose mean they count how much. */
function layOut(units: readonly Unit[], seen: number) {
  const ids: number[] = [];
  const positions: number[] = [];
  const starts: number[] = [];
  const weights: Weights[] = [];
  let shot = 0;
  for (const unit of units) {
    const start = ids.length;
    for (const { ids: own, prompt } of unit) {
      for (let i = 0; i < own.length; i++) {
        positions.push(seen + ids.length - start);
        starts.push(start);
        const mean = own.length === 1 ? 1 : i === 0 ? 0 : 1 / (own.length - 1);
        weights.push({ shot, mean, prompt: i < prompt ? kindWeights(i, prompt) : NONE });
        ids.push(own[i]!);
      }
      shot++;
    }
  }
  return { ids, positions, starts, weights };
}

/** Means as a product: [shots and kinds of all prompts, count]. */
function share(weights: readonly Weights[], first: number, count: number, shots: number): Float32Array {
  const matrix = new Float32Array(shots * (1 + KINDS) * count);
  for (let i = 0; i < count; i++) {
    const { shot, mean, prompt } = weights[first + i]!;
    matrix[shot * count + i] = mean;
    for (const [kind, weight] of prompt.entries()) matrix[(shots + shot * KINDS + kind) * count + i] = weight;
  }
  return matrix;
}

/** Which rows of a chunk belong to which unit, and to which of its tokens. */
function segments(units: readonly Unit[], first: number, count: number) {
  const list: { readonly unit: number; readonly at: number; readonly row: number; readonly rows: number }[] = [];
  let start = 0;
  for (const [unit, shots] of units.entries()) {
    const end = start + lengthOf(shots);
    const from = Math.max(start, first);
    const to = Math.min(end, first + count);
    if (from < to) list.push({ unit, at: from - start, row: from - first, rows: to - from });
    start = end;
  }
  return list;
}
