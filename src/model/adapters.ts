import type { LoraPart } from '../checkpoint/adapter/modules.ts';
import { type Adapter, type BoundPair, bindAdapter, openAdapter } from '../checkpoint/adapter/open.ts';
import { allFinite } from '../checkpoint/finite.ts';
import { dequantise } from '../checkpoint/quantised/dequantise.ts';
import type { Checkpoint, TensorEntry } from '../checkpoint/types.ts';
import type { Device, Tensor } from '../device/device.ts';
import { EspalierError, throwIfAborted } from '../errors.ts';
import { defined } from '../options/defined.ts';
import { ByteDigest } from '../runtime/files/byte-digest.ts';
import { sha256 } from '../runtime/files/hash.ts';
import type { FilesOptions } from '../runtime/hub/options.ts';
import { type AdapterChoice, weighted } from './adapter-options.ts';

import type { LoraTerm, LoraTerms } from './lora.ts';
import type { DecoderWeights, FeedForwardWeights, LayerWeights } from './weights.ts';

/** An adapter that was held against its base, and how much of it is wanted. */
export interface WeighedAdapter {
  readonly adapter: Pick<Adapter, 'name' | 'config' | 'parameters'>;
  readonly pairs: readonly BoundPair[];
  readonly weight: number;
}

/** An adapter on an open model. */
export interface AdapterFacts {
  readonly name: string;
  /** What its terms are multiplied by, beside their own factor. */
  readonly weight: number;
  /** Rank of modules that no pattern names. */
  readonly rank: number;
  readonly modules: number;
  readonly parameters: number;
}

/** Terms by layer and part, those of several adapters in their order. */
export type TermsByLayer = ReadonlyMap<number, LoraTerms<LoraPart>>;

/** Factors on a device. */
export interface LoadedAdapters {
  readonly terms: TermsByLayer;
  readonly facts: readonly AdapterFacts[];
  /**
   * What tells a model with these adapters from others: that of its base, all bytes of the factors, and what these are multiplied by. Only
   * where it was asked for.
   */
  identityOn(base: string): Promise<string>;
  dispose(): void;
}

/**
 * Opens adapters and holds them against their base. Close them when they are loaded.
 * @throws as `openAdapter` and `bindAdapter`; no file stays open then
 */
export async function openAdapters(
  choices: readonly AdapterChoice[],
  base: Pick<Checkpoint, 'name' | 'config'>,
  options: FilesOptions,
): Promise<{ weighed: readonly WeighedAdapter[]; notes: readonly string[]; close(): Promise<void> }> {
  const opened: Adapter[] = [];
  const close = async (): Promise<void> => void (await Promise.all(opened.map((adapter) => adapter.close())));
  // revision and file are the base's
  const { revision: _, file: __, ...hub } = options.hub ?? {};
  try {
    const weighed: WeighedAdapter[] = [];
    const notes: string[] = [];
    for (const { from, weight } of choices.map(weighted)) {
      const adapter = await openAdapter(from, { ...options, hub });
      opened.push(adapter);
      const bound = bindAdapter(adapter, base);
      const beyond = bound.pairs.find(({ scale }) => !Number.isFinite(Math.fround(weight * scale)));
      if (beyond) {
        throw new EspalierError(
          'E_ADAPTER',
          `The adapter ${adapter.name} would be multiplied by ${weight * beyond.scale} in ${beyond.module}, which is beyond f32.`,
          'Give it a smaller weight, or look at lora_alpha in its adapter_config.json.',
        );
      }
      weighed.push({ adapter, pairs: bound.pairs, weight });
      notes.push(...adapter.notes, ...bound.notes);
    }
    return { weighed, notes, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/**
 * Reads factors onto the device, as f32 rows.
 * @throws E_TENSOR_VALUE for NaN and infinity, E_FILE_READ, E_CHECKPOINT_TRUNCATED, E_OUT_OF_MEMORY, E_ABORTED; nothing is left allocated then
 */
export async function loadAdapters(
  device: Device,
  adapters: readonly WeighedAdapter[],
  { signal, withIdentity }: { readonly signal?: AbortSignal | undefined; readonly withIdentity: boolean },
): Promise<LoadedAdapters> {
  const made: Tensor[] = [];
  const dispose = (): void => {
    for (const tensor of made) tensor.dispose();
  };
  const terms = new Map<number, { [P in LoraPart]?: LoraTerm[] }>();
  const told: unknown[] = [];
  const load = async (entry: TensorEntry): Promise<Tensor> => {
    throwIfAborted(signal);
    const { bytes, values } = await factorValues(entry);
    const tensor = device.tensor('f32', entry.shape);
    made.push(tensor);
    device.write(tensor, values);
    if (withIdentity) {
      const digest = new ByteDigest();
      await digest.update(bytes);
      told.push(entry.type, entry.shape, await digest.hex());
    }
    return tensor;
  };
  try {
    for (const { pairs, weight } of adapters) {
      for (const pair of pairs) {
        const scale = weight * pair.scale;
        told.push(pair.module, scale);
        const [a, b] = [await load(pair.a), await load(pair.b)];
        for (const { layer, part, firstRow, rows } of pair.targets) {
          const parts = terms.get(layer) ?? {};
          parts[part] = [...(parts[part] ?? []), { a, b: device.rows(b, firstRow, rows), scale }];
          terms.set(layer, parts);
        }
      }
    }
    const facts = adapters.map(({ adapter: { name, config, parameters }, pairs, weight }): AdapterFacts => {
      return { name, weight, rank: config.rank, modules: pairs.length, parameters };
    });
    return { terms, facts, identityOn: (base) => sha256(JSON.stringify([base, told])), dispose };
  } catch (error) {
    dispose();
    throw error;
  }
}

/** A factor as it is stored, and in f32. @throws E_TENSOR_VALUE for NaN and infinity, E_FILE_READ, E_CHECKPOINT_TRUNCATED */
export async function factorValues(entry: TensorEntry): Promise<{ bytes: Uint8Array; values: Float32Array }> {
  const bytes = new Uint8Array(entry.byteLength);
  await entry.source.readInto(entry.offset, bytes);
  const values = dequantise(entry.type, bytes, entry.shape[0]! * entry.shape[1]!);
  if (allFinite(values)) return { bytes, values };
  const hint = 'Its training has diverged, or the file is damaged.';
  throw new EspalierError('E_TENSOR_VALUE', `${entry.name} holds numbers that are not finite.`, hint);
}

/** Weights whose layers carry the terms of adapters, and free both. */
export function withAdapters(weights: DecoderWeights, { terms, dispose }: LoadedAdapters): DecoderWeights {
  const free = (): void => {
    weights.dispose();
    dispose();
  };
  return { ...withTerms(weights, terms), dispose: free };
}

/** Weights whose layers carry terms, which whoever made them frees. */
export function withTerms(weights: DecoderWeights, terms: TermsByLayer): DecoderWeights {
  const { layers } = weights;
  const carrying = new WeakMap<LayerWeights, LayerWeights>();
  const carry = (layer: LayerWeights, index: number): LayerWeights => {
    const found = carrying.get(layer);
    if (found) return found;
    const made = layerWith(layer, terms.get(index));
    carrying.set(layer, made);
    return made;
  };
  const get = (index: number) => {
    const layer = layers.get(index);
    return layer instanceof Promise ? layer.then((read) => carry(read, index)) : carry(layer, index);
  };
  return { ...weights, layers: { count: layers.count, get } };
}

function layerWith(layer: LayerWeights, terms: LoraTerms<LoraPart> | undefined): LayerWeights {
  if (!terms) return layer;
  const { q, k, v, o, gate, up, down, ...none } = terms;
  none satisfies Readonly<Record<string, never>>; // a part that nothing here carries would be left out
  const { feedForward } = layer;
  const dense = (of: FeedForwardWeights): FeedForwardWeights => ({ ...of, lora: defined({ gate, up, down }) });
  const shared = feedForward.kind === 'mixture' ? feedForward.shared : null;
  const inner = feedForward.kind === 'dense' ? dense(feedForward) : { ...feedForward, shared: shared && dense(shared) };
  return { ...layer, lora: defined({ q, k, v, o }), feedForward: inner };
}
