import { gateEntries, gateFrom } from '../checkpoint/adapter/gate-kinds.ts';
import type { LoraPart } from '../checkpoint/adapter/modules.ts';
import { type Adapter, adapterFault, type BoundPair, bindAdapter } from '../checkpoint/adapter/open.ts';
import { type BoundFactors, bindRouted, openAnyAdapter, type RoutedAdapter } from '../checkpoint/adapter/routed.ts';
import type { RoutingRule } from '../checkpoint/adapter/routing.ts';
import { factorValues } from '../checkpoint/adapter/values.ts';
import type { Checkpoint, TensorEntry } from '../checkpoint/types.ts';
import type { Device, Tensor } from '../device/device.ts';
import { EspalierError, throwIfAborted } from '../errors.ts';
import { named } from '../named-errors.ts';
import { defined } from '../options/defined.ts';
import { ByteDigest } from '../runtime/files/byte-digest.ts';
import { sha256 } from '../runtime/files/hash.ts';
import type { FilesOptions } from '../runtime/hub/options.ts';
import { type AdapterChoice, weighted } from './adapter-options.ts';

import type { LoraTerm, LoraTerms } from './lora.ts';
import type { GateWeights } from './routed/gate.ts';
import type { DecoderWeights, FeedForwardWeights, LayerWeights } from './weights.ts';

/** An adapter that was held against its base, and how much of it is wanted. */
export interface WeighedAdapter {
  readonly adapter: Pick<Adapter, 'name' | 'config' | 'parameters'>;
  readonly pairs: readonly BoundPair[];
  readonly weight: number;
}

/** The same of one whose experts act by position. */
export interface WeighedRouted {
  readonly adapter: Pick<RoutedAdapter, 'name' | 'config' | 'gate' | 'parameters'>;
  readonly modules: readonly BoundFactors[];
  readonly weight: number;
  /** Its place among all adapters that were asked for. */
  readonly place: number;
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
  /** Names of its experts, where they act by position. */
  readonly experts?: readonly string[];
}

type Terms = Map<number, { [P in LoraPart]?: LoraTerm[] }>;

/** Terms by layer and part, those of several adapters in their order. */
export type TermsByLayer = ReadonlyMap<number, LoraTerms<LoraPart>>;

/** Factors of experts on a device, and who chooses them. */
export interface LoadedRouted {
  readonly terms: TermsByLayer;
  readonly gate: GateWeights;
  readonly rule: RoutingRule;
}

/** Factors on a device. */
export interface LoadedAdapters {
  /** Of those that act everywhere. */
  readonly terms: TermsByLayer;
  readonly routed: LoadedRouted | null;
  readonly facts: readonly AdapterFacts[];
  /**
   * What tells a model with these adapters from others: that of its base, all bytes of the factors, and what these are multiplied by. Only
   * where it was asked for.
   */
  identityOn(base: string): Promise<string>;
  dispose(): void;
}

/** Opened adapters of both kinds, and what is to be said of them. */
export interface OpenedAdapters {
  readonly weighed: readonly WeighedAdapter[];
  /** The one whose experts act by position. */
  readonly routed: WeighedRouted | null;
  readonly notes: readonly string[];
  close(): Promise<void>;
}

/**
 * Opens adapters and holds them against their base. Close them when they are loaded.
 * @throws as `openAnyAdapter`, `bindAdapter` and `bindRouted`; E_ADAPTER for two whose experts act by position; no file stays open then
 */
export async function openAdapters(
  choices: readonly AdapterChoice[],
  base: Pick<Checkpoint, 'name' | 'config'>,
  options: FilesOptions,
): Promise<OpenedAdapters> {
  const opened: (Adapter | RoutedAdapter)[] = [];
  const close = async (): Promise<void> => void (await Promise.all(opened.map((adapter) => adapter.close())));
  // revision and file are the base's
  const { revision: _, file: __, ...hub } = options.hub ?? {};
  try {
    const weighed: WeighedAdapter[] = [];
    let routed: WeighedRouted | null = null;
    const notes: string[] = [];
    for (const [place, { from, weight }] of choices.map(weighted).entries()) {
      const opening = openAnyAdapter(from, { ...options, hub });
      const adapter = await (choices.length > 1 ? named(`adapter ${place + 1}`, opening) : opening);
      opened.push(adapter);
      notes.push(...adapter.notes);
      if (adapter.kind === 'routed') {
        if (routed) {
          const what = `has experts that are chosen by position, and so has ${routed.adapter.name}`;
          const hint = 'Open one of them; of the other static/ can be added, which `espalier export` writes.';
          throw adapterFault(adapter.name, what, hint);
        }
        const bound = bindRouted(adapter, base);
        checkFactor(adapter.name, adapter.config.rule.strength * weight, adapter.config.scale);
        routed = { adapter, modules: bound.modules, weight, place };
        notes.push(...bound.notes);
        continue;
      }
      const bound = bindAdapter(adapter, base);
      for (const { scale, module } of bound.pairs) checkFactor(adapter.name, weight, scale, module);
      weighed.push({ adapter, pairs: bound.pairs, weight });
      notes.push(...bound.notes);
    }
    return { weighed, routed, notes, close };
  } catch (error) {
    await close();
    throw error;
  }
}

export interface LoadAdaptersOptions {
  readonly signal?: AbortSignal | undefined;
  readonly withIdentity: boolean;
  readonly routed?: WeighedRouted | null;
}

/** @throws E_ADAPTER */
function checkFactor(name: string, weight: number, scale: number, module?: string): void {
  if (Number.isFinite(Math.fround(weight)) && Number.isFinite(Math.fround(weight * scale))) return;
  throw new EspalierError(
    'E_ADAPTER',
    `The adapter ${name} would be multiplied by ${weight * scale}${module ? ` in ${module}` : ''}, which is beyond f32.`,
    `Give it a smaller weight, or look at ${module ? 'lora_alpha in its adapter_config.json' : 'scale and strength in its alter.json'}.`,
  );
}

/**
 * Reads factors onto the device, as f32 rows.
 * @throws E_TENSOR_VALUE for NaN and infinity, E_FILE_READ, E_CHECKPOINT_TRUNCATED, E_OUT_OF_MEMORY, E_ABORTED; nothing is left allocated then
 */
export async function loadAdapters(
  device: Device,
  adapters: readonly WeighedAdapter[],
  { signal, withIdentity, routed }: LoadAdaptersOptions,
): Promise<LoadedAdapters> {
  const made: Tensor[] = [];
  const dispose = (): void => {
    for (const tensor of made) tensor.dispose();
  };
  const terms: Terms = new Map();
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
          add(terms, layer, part, [{ a, b: device.rows(b, firstRow, rows), scale }]);
        }
      }
    }
    const facts = adapters.map(({ adapter: { name, config, parameters }, pairs, weight }): AdapterFacts => {
      return { name, weight, rank: config.rank, modules: pairs.length, parameters };
    });
    if (routed) facts.splice(routed.place, 0, routedFacts(routed));
    const loaded = routed ? await loadRouted(device, routed, load, told) : null;
    return { terms, routed: loaded, facts, identityOn: (base) => sha256(JSON.stringify([base, told])), dispose };
  } catch (error) {
    dispose();
    throw error;
  }
}

/** Weight multiplies what the experts do, and not what is kept with them. */
async function loadRouted(
  device: Device,
  { adapter: { config, gate: stored }, modules, weight }: WeighedRouted,
  load: (entry: TensorEntry) => Promise<Tensor>,
  told: unknown[],
): Promise<LoadedRouted> {
  const { scale } = config;
  const rule = { ...config.rule, strength: config.rule.strength * weight };
  told.push('routed', scale, rule);
  const terms: Terms = new Map();
  for (const { module, a: shared, retain, forget, targets } of modules) {
    told.push(module);
    const a = await load(shared);
    const own: Tensor[] = [];
    for (const entry of [retain, ...forget]) own.push(await load(entry));
    for (const { layer, part, firstRow, rows } of targets) {
      const of = own.map((b, i) => ({ a, b: device.rows(b, firstRow, rows), scale, ...(i > 0 && { expert: i - 1 }) }));
      add(terms, layer, part, of);
    }
  }
  told.push(stored.kind);
  const gate = new Map<string, Tensor>();
  for (const [name, entry] of gateEntries(stored)) gate.set(name, await load(entry));
  return { terms, gate: gateFrom(stored.kind, (name) => gate.get(name)!), rule };
}

function routedFacts({ adapter: { name, config, parameters }, modules, weight }: WeighedRouted): AdapterFacts {
  const experts = config.experts.map((expert) => expert.name);
  return { name, weight, rank: config.rank, modules: modules.length, parameters, experts };
}

function add(to: Terms, layer: number, part: LoraPart, terms: readonly LoraTerm[]): void {
  const parts = to.get(layer) ?? {};
  parts[part] = [...(parts[part] ?? []), ...terms];
  to.set(layer, parts);
}

/** The terms of both, the second's behind the first's. */
export function joined(first: TermsByLayer, second: TermsByLayer): TermsByLayer {
  const both: Terms = new Map();
  for (const [layer, terms] of [...first, ...second]) {
    for (const [part, list] of Object.entries(terms)) add(both, layer, part as LoraPart, list);
  }
  return both;
}

/** Weights whose layers carry the terms of adapters, and free both. */
export function withAdapters(
  weights: DecoderWeights,
  { terms, dispose }: Pick<LoadedAdapters, 'terms' | 'dispose'>,
): DecoderWeights {
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
