import type { ModelConfig } from '../checkpoint/types.ts';
import type { Device, Tensor } from '../device/device.ts';
import { keptMixture, type MixtureBuffers, mixtureBuffers } from './experts.ts';
import { type FeedForwardBuffers, feedForwardBuffers, keptFeedForward } from './feed-forward.ts';

/** What is told of the t tokens of a chunk; all layers share it. */
export interface ChunkInputs {
  readonly positions: Tensor; // [t, 1] i32
  readonly mask: Tensor | null; // [t, 3] or [t, 6] i32
  readonly windowMask: Tensor | null; // as mask
  readonly split: Tensor | null; // as mask
  readonly routing: Tensor | null; // [t, experts] f32: of terms of adapters that have an expert, see `addLora`
}

/**
 * What a layer computes of t tokens. Who only runs forward gives all layers the same ones, and the pairs named here are one tensor each;
 * who goes back through a layer keeps them apart, but for what a norm that the layer lacks would tell apart: those are one tensor always.
 */
export interface LayerBuffers extends ChunkInputs {
  readonly hidden: Tensor; // [t, hidden]: the residual stream before the layer
  readonly middle: Tensor; // [t, hidden]: behind attention; may be hidden
  readonly normed: Tensor; // [t, hidden]: norm of hidden
  readonly qProjected: Tensor; // [t, nHeads · headDim]: before its norm; may be q
  readonly q: Tensor; // [t, nHeads · headDim]
  readonly kProjected: Tensor; // [t, nKvHeads · headDim]: before its norm; may be k
  readonly k: Tensor; // [t, nKvHeads · headDim]
  readonly v: Tensor; // [t, nKvHeads · headDim]
  readonly attended: Tensor; // [t, nHeads · headDim]
  readonly logSumExp: Tensor | null; // [t, nHeads]: of attention's scores; null: not asked for
  readonly attentionProjected: Tensor; // [t, hidden]: before the norm behind attention; may be attentionOut
  readonly attentionOut: Tensor; // [t, hidden]: what attention adds
  readonly feedForwardIn: Tensor; // [t, hidden]: norm of middle; may be normed
  readonly dense: FeedForwardBuffers | null; // of the intermediate size; null where every layer has experts
  readonly mixture: MixtureBuffers | null;
  readonly feedForwardProjected: Tensor; // [t, hidden]: before the norm behind the feed-forward; may be feedForwardOut
  readonly feedForwardOut: Tensor; // [t, hidden]: what the feed-forward adds; may be attentionOut
}

/** One set for all layers, in the scratch arena. */
export function sharedBuffers(device: Device, config: ModelConfig, inputs: ChunkInputs): LayerBuffers {
  const t = inputs.positions.shape[0]!;
  const { hiddenSize, nHeads, nKvHeads, headDim, moe } = config;
  const scratch = (width: number) => device.scratch('f32', [t, width]);
  const hidden = scratch(hiddenSize);
  const normed = scratch(hiddenSize);
  const out = scratch(hiddenSize);
  const [q, k] = [scratch(nHeads * headDim), scratch(nKvHeads * headDim)];
  const hasDense = moe === null || moe.layers.length < config.nLayers;
  return {
    ...inputs,
    hidden,
    middle: hidden,
    normed,
    qProjected: q,
    q,
    kProjected: k,
    k,
    v: scratch(nKvHeads * headDim),
    attended: scratch(nHeads * headDim),
    logSumExp: null,
    attentionProjected: out,
    attentionOut: out,
    feedForwardIn: normed,
    dense: hasDense ? feedForwardBuffers(device, t, config.intermediateSize) : null,
    mixture: moe && mixtureBuffers(device, t, hiddenSize, moe),
    feedForwardProjected: out,
    feedForwardOut: out,
  };
}

/**
 * A set with all that the way back through a layer reads, in the scratch arena.
 *
 * @param hidden the residual stream before the layer
 * @param kinds of feed-forward that it serves
 */
export function keptBuffers(
  device: Device,
  config: ModelConfig,
  inputs: ChunkInputs,
  hidden: Tensor,
  kinds: { readonly dense: boolean; readonly mixture: boolean },
): LayerBuffers {
  const t = inputs.positions.shape[0]!;
  const { hiddenSize, intermediateSize, nHeads, nKvHeads, headDim, qkNorm, postNorms, moe } = config;
  const scratch = (width: number) => device.scratch('f32', [t, width]);
  const [q, k] = [scratch(nHeads * headDim), scratch(nKvHeads * headDim)];
  // what a block adds is read by nothing behind, but for the norm that it may pass
  const out = scratch(hiddenSize);
  return {
    ...inputs,
    hidden,
    middle: scratch(hiddenSize),
    normed: scratch(hiddenSize),
    qProjected: qkNorm ? scratch(nHeads * headDim) : q,
    q,
    kProjected: qkNorm ? scratch(nKvHeads * headDim) : k,
    k,
    v: scratch(nKvHeads * headDim),
    attended: scratch(nHeads * headDim),
    logSumExp: scratch(nHeads),
    attentionProjected: postNorms ? scratch(hiddenSize) : out,
    attentionOut: out,
    feedForwardIn: scratch(hiddenSize),
    dense: kinds.dense ? keptFeedForward(device, t, intermediateSize) : null,
    mixture: kinds.mixture && moe ? keptMixture(device, t, hiddenSize, moe) : null,
    feedForwardProjected: postNorms ? scratch(hiddenSize) : out,
    feedForwardOut: out,
  };
}

/** The last `count` rows of every buffer, and buffers of so many rows for a mixture, which keeps none. */
export function lastRows(device: Device, config: ModelConfig, b: LayerBuffers, count: number): LayerBuffers {
  const made = new Map<Tensor, Tensor>();
  // what was one tensor stays one
  const rows = (t: Tensor): Tensor => {
    const view = made.get(t) ?? device.rows(t, t.shape[0]! - count, count);
    made.set(t, view);
    return view;
  };
  return {
    positions: rows(b.positions),
    mask: b.mask && rows(b.mask),
    windowMask: b.windowMask && rows(b.windowMask),
    split: b.split && rows(b.split),
    routing: b.routing && rows(b.routing),
    hidden: rows(b.hidden),
    middle: rows(b.middle),
    normed: rows(b.normed),
    qProjected: rows(b.qProjected),
    q: rows(b.q),
    kProjected: rows(b.kProjected),
    k: rows(b.k),
    v: rows(b.v),
    attended: rows(b.attended),
    logSumExp: b.logSumExp && rows(b.logSumExp),
    attentionProjected: rows(b.attentionProjected),
    attentionOut: rows(b.attentionOut),
    feedForwardIn: rows(b.feedForwardIn),
    dense: b.dense && { gate: rows(b.dense.gate), up: rows(b.dense.up), product: rows(b.dense.product) },
    mixture: config.moe && mixtureBuffers(device, count, config.hiddenSize, config.moe),
    feedForwardProjected: rows(b.feedForwardProjected),
    feedForwardOut: rows(b.feedForwardOut),
  };
}

/**
 * Buffers of a set of their own for some rows of others, anywhere: the residual stream, its norm, the positions and the routing are copied. No
 * masks.
 */
export function gatheredRows(
  device: Device,
  config: ModelConfig,
  b: LayerBuffers,
  rows: readonly number[],
): LayerBuffers {
  const positions = device.scratch('i32', [rows.length, 1]);
  const routing = b.routing && device.scratch('f32', [rows.length, b.routing.shape[1]!]);
  const to = sharedBuffers(device, config, { positions, mask: null, windowMask: null, split: null, routing });
  for (const [i, row] of rows.entries()) {
    device.copyRows(device.rows(b.positions, row, 1), positions, i);
    if (routing) device.copyRows(device.rows(b.routing!, row, 1), routing, i);
    device.copyRows(device.rows(b.hidden, row, 1), to.hidden, i);
    device.copyRows(device.rows(b.normed, row, 1), to.normed, i);
  }
  return to;
}
