import type { ModelConfig, RouterRule } from '../checkpoint/types.ts';
import type { Device, GatedActivation, Precision, RopeLayout, Tensor } from '../device/device.ts';
import { mixture } from './experts.ts';
import { feedForward } from './feed-forward.ts';
import type { LayerBuffers } from './layer-buffers.ts';
import { addLora } from './lora.ts';
import type { LayerWeights } from './weights.ts';

/** What one layer needs to know of the configuration. */
export interface LayerFacts {
  readonly nHeads: number;
  readonly nKvHeads: number;
  readonly headDim: number;
  readonly eps: number;
  readonly queryLayout: RopeLayout;
  readonly keyLayout: RopeLayout;
  /** Of q · k. */
  readonly attentionScale: number;
  /** Of what attention and feed-forward add. */
  readonly residualScale: number;
  /** A query sees at most this many positions, its own included; 0: all. */
  readonly window: number;
  /** Of the feed-forward. */
  readonly activation: GatedActivation;
  /** Of a layer with experts. */
  readonly router: RouterRule | null;
}

/** Of each layer. */
export function layerFacts(config: ModelConfig): LayerFacts[] {
  const { nHeads, nKvHeads, headDim, rope } = config;
  const windowed = new Set(config.windowLayers);
  const sparse = new Set(config.moe?.layers);
  const layout = { headDim, rotaryDims: rope.rotaryDims, layout: rope.layout };
  const common = {
    nHeads,
    nKvHeads,
    headDim,
    eps: config.rmsNormEps,
    queryLayout: { heads: nHeads, ...layout },
    keyLayout: { heads: nKvHeads, ...layout },
    attentionScale: config.attentionScale ?? 1 / Math.sqrt(headDim),
    residualScale: config.residualScale,
    activation: config.activation,
  };
  return Array.from({ length: config.nLayers }, (_, i) => ({
    ...common,
    window: windowed.has(i) ? (config.slidingWindow ?? 0) : 0,
    router: sparse.has(i) ? config.moe!.router : null,
  }));
}

export interface LayerHooks {
  /**
   * Called at once, in each layer, with keys as they stand before RoPE (after norm and bias) and values, [t, nKvHeads · headDim] each, of
   * rows firstRow .. of the text. They are scratch: enqueue what shall be done with them before it returns.
   */
  readonly onKeys?: (layer: number, keys: Tensor, values: Tensor, firstRow: number) => void;
  /** The same for queries, [t, nHeads · headDim]. Not with `output: 'last'`. */
  readonly onQueries?: (layer: number, queries: Tensor, firstRow: number) => void;
}

/** Rows that go to the cache together: `count` from `first` on to `row`. */
export interface Stretch {
  readonly first: number;
  readonly count: number;
  readonly row: number;
}

/** Rows of a pass that are tokens of one sequence, and what they see. */
export interface SequenceRows {
  /** Cache of this layer, [capacity, nKvHeads · headDim], keys rotated. */
  readonly keys: Tensor;
  readonly values: Tensor;
  /** Where keys and values go in it, by rows of the pass. */
  readonly stretches: readonly Stretch[];
  /** Of the rows whose result is wanted: which are of this sequence, */
  readonly first: number;
  readonly count: number;
  /** and where the first of them stands in the cache, as attention counts. */
  readonly base: number;
}

/** One pass of t tokens through one layer. */
export interface LayerRun {
  readonly index: number;
  /** One, or several with nothing but the weights in common; masks are for one alone. */
  readonly sequences: readonly SequenceRows[];
  /** Whether no row has company, as in `Device.linear`: one token of each sequence. */
  readonly alone: boolean;
  /** Angles by position, [positions, 2, rotaryDims/2]; null: the layer rotates nothing. */
  readonly table: Tensor | null;
  /** Of the split's part of the cache, see `Device.attention`. */
  readonly splitFactor: number;
  readonly precision: Precision;
  /** Row of the text that the first token is. */
  readonly firstRow: number;
  readonly hooks: LayerHooks;
}

/**
 * One layer of the decoder: residual += attention(norm(residual)), residual += feedForward(norm(residual)), but for the first norm and
 * the last addition, which share a pass with the layers before and behind: `normed` comes in, `feedForwardOut` goes out and is still to
 * be added to `middle`.
 *
 * Reads `normed` and `hidden` (the residual stream), positions and masks, and the cache's rows. Writes k and v, which go to the cache;
 * q; `attended`; `attentionOut`; `middle`, the residual stream behind attention; `feedForwardIn`, its norm; what the feed-forward needs; and
 * `feedForwardOut`. q and k are normed and rotated where they stand, and so is what a norm behind attention or feed-forward gives.
 * Some buffers may be one tensor, where `LayerBuffers` says so. Nothing is awaited.
 *
 * @param b of all t tokens: their keys and values are computed
 * @param o of the tokens whose result is wanted: `b`, some rows of it that are computed alone, or null for none
 */
export function decoderLayer(
  device: Device,
  facts: LayerFacts,
  weights: LayerWeights,
  b: LayerBuffers,
  o: LayerBuffers | null,
  run: LayerRun,
): void {
  const { eps, residualScale } = facts;
  const { index, table, precision, firstRow, hooks } = run;
  const alone = run.alone || o !== b;
  if (o === b) {
    device.linear(b.normed, [weights.q, weights.k, weights.v], [b.qProjected, b.kProjected, b.v], precision, alone);
  } else {
    device.linear(b.normed, [weights.k, weights.v], [b.kProjected, b.v], precision, run.alone);
    if (o) device.linear(o.normed, [weights.q], [o.qProjected], precision, alone);
  }
  const { lora } = weights;
  addLora(device, lora?.k, b.normed, b.kProjected);
  addLora(device, lora?.v, b.normed, b.v);
  if (weights.kBias) device.addBias(weights.kBias, b.kProjected);
  if (weights.vBias) device.addBias(weights.vBias, b.v);
  if (weights.kNorm) device.rmsNorm(b.kProjected, weights.kNorm, b.k, eps);
  hooks.onKeys?.(index, b.k, b.v, firstRow);
  if (table) device.rope(b.k, table, b.positions, facts.keyLayout);
  for (const { keys, values, stretches } of run.sequences) {
    for (const { first, count, row } of stretches) {
      device.copyRows(device.rows(b.k, first, count), keys, row);
      device.copyRows(device.rows(b.v, first, count), values, row);
    }
  }
  if (!o) return;
  addLora(device, lora?.q, o.normed, o.qProjected);
  if (weights.qBias) device.addBias(weights.qBias, o.qProjected);
  if (weights.qNorm) device.rmsNorm(o.qProjected, weights.qNorm, o.q, eps);
  hooks.onQueries?.(index, o.q, firstRow);
  if (table) device.rope(o.q, table, o.positions, facts.queryLayout);
  for (const sequence of run.sequences) attend(device, facts, o, sequence, run.splitFactor);
  device.linear(o.attended, [weights.o], [o.attentionProjected], precision, alone);
  addLora(device, lora?.o, o.attended, o.attentionProjected);
  if (weights.oBias) device.addBias(weights.oBias, o.attentionProjected);
  if (weights.postAttentionNorm) {
    device.rmsNorm(o.attentionProjected, weights.postAttentionNorm, o.attentionOut, eps);
  }
  if (residualScale !== 1) device.scale(o.attentionOut, residualScale);
  if (o.middle !== o.hidden) device.copyRows(o.hidden, o.middle, 0);
  device.addRmsNorm(o.attentionOut, o.middle, weights.feedForwardNorm, o.feedForwardIn, eps);
  const [inner, to] = [weights.feedForward, o.feedForwardProjected];
  if (inner.kind === 'dense')
    feedForward(device, facts.activation, inner, o.feedForwardIn, o.dense!, to, precision, alone);
  else mixture(device, facts.activation, inner, facts.router!, o.feedForwardIn, o.mixture!, to, precision, alone);
  if (weights.postFeedForwardNorm) {
    device.rmsNorm(o.feedForwardProjected, weights.postFeedForwardNorm, o.feedForwardOut, eps);
  }
  if (residualScale !== 1) device.scale(o.feedForwardOut, residualScale);
}

/** Attention of the wanted rows of one sequence over its cache. */
function attend(device: Device, facts: LayerFacts, o: LayerBuffers, of: SequenceRows, splitFactor: number): void {
  const { first, count, keys, values, base } = of;
  if (count === 0) return;
  const some = (t: Tensor): Tensor => (count === t.shape[0] ? t : device.rows(t, first, count));
  const { nHeads, nKvHeads, headDim, window } = facts;
  device.attention({
    q: some(o.q),
    keys,
    values,
    out: some(o.attended),
    base,
    nHeads,
    nKvHeads,
    headDim,
    scale: facts.attentionScale,
    window,
    mask: window > 0 ? (o.windowMask ?? o.mask) : o.mask,
    split: o.split && { mask: o.split, factor: splitFactor },
  });
}

/** Where rows first .. of a pass go in the cache: behind `base`, or to the given places. */
export function stretches(rows: readonly number[] | undefined, first: number, count: number, base: number): Stretch[] {
  if (!rows) return [{ first, count, row: base }];
  const list: { first: number; count: number; row: number }[] = [];
  for (const [i, row] of rows.entries()) {
    const last = list.at(-1);
    if (last && last.row + last.count === row) last.count++;
    else list.push({ first: first + i, count: 1, row });
  }
  return list;
}
