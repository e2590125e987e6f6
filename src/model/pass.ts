import type { ModelConfig } from '../checkpoint/types.ts';
import type { Device, Precision, Tensor } from '../device/device.ts';
import { type FusedDevice, fusedOf } from '../device/fused-device.ts';
import { throwIfAborted } from '../errors.ts';
import type { Pace } from '../runtime/host/yielding.ts';
import type { RoutingTensors } from './experts.ts';
import type { KvCache } from './kv-cache.ts';
import { decoderLayer } from './layer.ts';
import { gatheredRows, type LayerBuffers, lastRows, sharedBuffers } from './layer-buffers.ts';
import { type LayerFacts, type LayerHooks, type SequenceRows, stretches } from './layer-run.ts';
import type { ModelRopes } from './model-ropes.ts';
import { tokenEmbedding } from './token-embedding.ts';
import { type Fused, loadFused } from './webgpu/load.ts';
import type { DecoderWeights } from './weights.ts';

/** What a pass needs of its model. */
export interface PassModel {
  readonly device: Device;
  readonly config: ModelConfig;
  readonly weights: DecoderWeights;
  readonly ropes: ModelRopes;
  readonly facts: readonly LayerFacts[];
}

/** Tokens of one sequence: rows `first` .. of the pass. */
export interface PassPart {
  readonly cache: KvCache;
  readonly first: number;
  /** RoPE position of each token. */
  readonly positions: readonly number[];
  /** Cache rows that they go to; default: behind all others. */
  readonly rows?: readonly number[] | undefined;
  /** They go behind what the cache holds, and it does not know them. Default: it does. */
  readonly unknown?: boolean | undefined;
}

/** Masks of the rows of a pass with one part, [t, 3] or [t, 6] as in `Device.attention`. */
export interface PassMasks {
  readonly mask?: Int32Array | undefined;
  readonly windowMask?: Int32Array | undefined;
  readonly split?: { readonly mask: Int32Array; readonly factor: number } | undefined;
}

/** Callbacks and signal of a pass; `ForwardOptions` says what each is. */
export interface PassHooks extends LayerHooks {
  readonly signal?: AbortSignal | undefined;
  readonly onHidden?: (index: number, hidden: Tensor, firstRow: number) => Promise<void> | void;
  readonly onExperts?: (layer: number, counts: Int32Array, routing: RoutingTensors) => Promise<void> | void;
}

/** Some rows that go through all layers together. */
export interface Pass {
  /** [t]; on the device already where they are a tensor. */
  readonly ids: Int32Array | Tensor;
  readonly parts: readonly PassPart[];
  /**
   * Rows whose result is wanted, ascending; null: all. The last layer then computes no more than these, each alone, and keys and values
   * of the others.
   */
  readonly wanted: readonly number[] | null;
  /** As in `Device.linear`. */
  readonly alone: boolean;
  /** Row of its text that the first token is, for callbacks. */
  readonly firstRow: number;
  readonly precision: Precision;
  readonly masks: PassMasks;
  /** Coefficients of terms of adapters that have an expert, by row, f32 [t, experts]; null: all 0. */
  readonly routing: Tensor | null;
  readonly hooks: PassHooks;
  readonly pace: Pace;
}

/** Loaded by the first pass that asks for it: later ones wait for nothing. */
let fusing: Fused | null = null;

/**
 * Runs a pass; its keys and values are in the caches then, which know it.
 * @returns the normalised last hidden states of the wanted rows, scratch; null where none are wanted
 * @throws E_ABORTED, E_OUT_OF_MEMORY; the caches then hold what they held, but for given rows
 */
export async function runPass(model: PassModel, pass: Pass): Promise<Tensor | null> {
  const { device, config, weights } = model;
  const { ids, parts, alone, firstRow, precision, masks, hooks } = pass;
  const positions = parts.flatMap((part) => [...part.positions]);
  const t = positions.length;
  const upload = (data: Int32Array, shape: readonly number[]) => {
    const tensor = device.scratch('i32', shape);
    device.write(tensor, data);
    return tensor;
  };
  const maskOf = (mask: Int32Array | undefined) => (mask ? upload(mask, [t, mask.length / t]) : null);
  const buffers = sharedBuffers(device, config, {
    positions: upload(Int32Array.from(positions), [t, 1]),
    mask: maskOf(masks.mask),
    windowMask: maskOf(masks.windowMask),
    split: maskOf(masks.split?.mask),
    routing: pass.routing,
  });
  const tables = model.ropes.forward(Math.max(...positions) + 1);
  const common = { alone, splitFactor: masks.split?.factor ?? 1, firstRow, hooks };
  tokenEmbedding(device, config, weights.embedding, ids instanceof Int32Array ? upload(ids, [t]) : ids, buffers.hidden);
  await hooks.onHidden?.(0, buffers.hidden, firstRow);
  const { layers } = weights;
  const places = parts.map((part) => placesOf(part, pass.wanted));
  // no await where all of them are there
  let got = layers.get(0);
  let layer = got instanceof Promise ? await got : got;
  const fused = fusedFor(model.device, pass, t);
  if (fused) fusing ??= await loadFused();
  const isFused = (i: number): boolean => fused !== null && fusing!.canFuse(model.facts[i]!, layer);
  if (!isFused(0)) device.rmsNorm(buffers.hidden, layer.inputNorm, buffers.normed, config.rmsNormEps);
  /** The rows that the last layer gives out. */
  let out: LayerBuffers | null = buffers;
  for (let i = 0; i < layers.count; i++) {
    throwIfAborted(hooks.signal);
    const last = i === layers.count - 1;
    if (last) out = outOf(model, buffers, pass.wanted);
    // what is lost in the first and the last layer weighs several times what is lost in another
    const rounding = precision === 'int8' && (i === 0 || last) ? 'int16' : precision;
    const whole = out === buffers;
    const sequences = parts.map(({ cache }, p): SequenceRows => {
      const { stretches, all, wanted } = places[p]!;
      const { first, count, base, position } = whole ? all : wanted;
      return { keys: cache.keys(i), values: cache.values(i), stretches, first, count, base, position };
    });
    const run = { ...common, index: i, sequences, table: tables[i]!, precision: rounding };
    const whileFused = isFused(i);
    if (whileFused) fusing!.fusedLayer(fused!, model.facts[i]!, layer, buffers, run);
    else decoderLayer(device, model.facts[i]!, layer, buffers, out, run);
    if (!out) break;
    if (hooks.onExperts && layer.feedForward.kind === 'mixture') await report(device, i, out, hooks.onExperts);
    // the norm before the next block shares the pass that adds this block's result
    if (!last) {
      got = layers.get(i + 1);
      layer = got instanceof Promise ? await got : got;
    }
    const norm = last ? weights.norm : layer.inputNorm;
    if (!whileFused) device.addRmsNorm(out.feedForwardOut, out.hidden, norm, out.normed, config.rmsNormEps);
    else if (last || !isFused(i + 1)) device.rmsNorm(out.hidden, norm, out.normed, config.rmsNormEps);
    await hooks.onHidden?.(i + 1, out.hidden, firstRow);
    await pass.pace.breathe();
  }
  throwIfAborted(hooks.signal);
  for (const part of parts) if (!part.rows && !part.unknown) part.cache.advance(part.positions);
  return out?.normed ?? null;
}

/** What computes layers in fewer commands, where all rows are next tokens whose results are wanted, and nobody asks for what stands between. */
function fusedFor(device: Device, { alone, wanted, masks, hooks }: Pass, rows: number): FusedDevice | null {
  const plain = alone && (wanted === null || wanted.length === rows) && !masks.mask;
  return plain && !hooks.onKeys && !hooks.onQueries ? fusedOf(device) : null;
}

/** Where rows of a part go in its cache, and which of all rows, or of the wanted ones, are its own. */
function placesOf({ cache, first, positions, rows }: PassPart, wanted: readonly number[] | null) {
  const count = positions.length;
  const base = rows ? cache.length - count : cache.length;
  const own = (wanted ?? []).filter((row) => row >= first && row < first + count);
  return {
    stretches: stretches(rows, first, count, base),
    all: { first, count, base, position: positions[0]! },
    // those of a part are its last
    wanted: {
      first: own.length > 0 ? wanted!.indexOf(own[0]!) : 0,
      count: own.length,
      base: base + count - own.length,
      position: positions[count - own.length]!,
    },
  };
}

/** Buffers of the wanted rows: all of them, a view of the last, or others gathered; null where there are none. */
function outOf({ device, config }: PassModel, b: LayerBuffers, wanted: readonly number[] | null): LayerBuffers | null {
  const rows = b.hidden.shape[0]!;
  if (wanted === null || wanted.length === rows) return b;
  if (wanted.length === 0) return null;
  const atEnd = wanted[0] === rows - wanted.length;
  return atEnd ? lastRows(device, config, b, wanted.length) : gatheredRows(device, config, b, wanted);
}

/** Tells who computed what in a layer with experts. */
async function report(
  device: Device,
  layer: number,
  b: LayerBuffers,
  tell: NonNullable<PassHooks['onExperts']>,
): Promise<void> {
  const { routing } = b.mixture!;
  const offsets = (await device.read(routing.offsets)) as Int32Array;
  await tell(
    layer,
    offsets.subarray(1).map((end, e) => end - offsets[e]!),
    routing,
  );
}
