import type { Device, Tensor } from '../device/device.ts';
import type { TrainDevice } from '../device/train-device.ts';
import { mixture, mixtureBackward, type RouterFactors } from './experts.ts';
import { feedForward, feedForwardBackward } from './feed-forward.ts';
import { type LayerGradients, projectionBackward, trains } from './gradients.ts';
import { attend, isStep, keep, maskOf, stepOf } from './layer-attention.ts';
import type { LayerBuffers } from './layer-buffers.ts';
import type { LayerFacts, LayerRun } from './layer-run.ts';
import { addLora } from './lora.ts';
import type { LayerWeights } from './weights.ts';

/**
 * One layer of the decoder: residual += attention(norm(residual)), residual += feedForward(norm(residual)), but for the first norm and
 * the last addition, which share a pass with the layers before and behind: `normed` comes in, `feedForwardOut` goes out and is still to
 * be added to `middle`.
 *
 * Reads `normed` and `hidden` (the residual stream), positions, masks and routing, and the cache's rows. Writes k and v, which go to the cache;
 * q; `attended`; `attentionOut`; `middle`, the residual stream behind attention; `feedForwardIn`, its norm; what the feed-forward needs; and
 * `feedForwardOut`. q and k are normed and rotated where they stand, and so is what a norm behind attention or feed-forward gives.
 * Some buffers may be one tensor, where `LayerBuffers` says so. What went to a cache is undefined in k. Nothing is awaited.
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
  addLora(device, lora?.k, b.routing, b.normed, b.kProjected, run.alone);
  addLora(device, lora?.v, b.routing, b.normed, b.v, run.alone);
  if (weights.kBias) device.addBias(weights.kBias, b.kProjected);
  if (weights.vBias) device.addBias(weights.vBias, b.v);
  if (weights.kNorm) device.rmsNorm(b.kProjected, weights.kNorm, b.k, eps);
  hooks.onKeys?.(index, b.k, b.v, firstRow);
  // queries of the same rows go the same way
  if (o === b) finishQueries(device, facts, weights, b, run, alone);
  if (o === b && isStep(b, run)) device.attendEach(stepOf(facts, b, run));
  else {
    const rotated = keep(device, facts, b, run, o === b ? b.q : null);
    if (!o) return;
    if (o !== b) finishQueries(device, facts, weights, o, run, alone);
    if (table && !rotated) device.rope(o.q, table, o.positions, facts.queryLayout);
    for (const sequence of run.sequences) attend(device, facts, o, sequence, run.splitFactor);
  }
  device.linear(o.attended, [weights.o], [o.attentionProjected], precision, alone);
  addLora(device, lora?.o, o.routing, o.attended, o.attentionProjected, alone);
  if (weights.oBias) device.addBias(weights.oBias, o.attentionProjected);
  if (weights.postAttentionNorm) {
    device.rmsNorm(o.attentionProjected, weights.postAttentionNorm, o.attentionOut, eps);
  }
  if (residualScale !== 1) device.scale(o.attentionOut, residualScale);
  if (o.middle !== o.hidden) device.copyRows(o.hidden, o.middle, 0);
  device.addRmsNorm(o.attentionOut, o.middle, weights.feedForwardNorm, o.feedForwardIn, eps);
  const inner = weights.feedForward;
  const to = run.again && !weights.postFeedForwardNorm ? null : o.feedForwardProjected;
  if (inner.kind === 'dense')
    feedForward(device, facts.activation, inner, o.routing, o.feedForwardIn, o.dense!, to, precision, alone);
  else {
    const [rule, x] = [facts.router!, o.feedForwardIn];
    mixture(device, facts.activation, inner, rule, o.routing, x, o.mixture!, to, precision, alone);
  }
  if (run.again) return;
  if (weights.postFeedForwardNorm) {
    device.rmsNorm(o.feedForwardProjected, weights.postFeedForwardNorm, o.feedForwardOut, eps);
  }
  if (residualScale !== 1) device.scale(o.feedForwardOut, residualScale);
}

/** Queries as they stand before RoPE. */
function finishQueries(
  device: Device,
  { eps }: LayerFacts,
  weights: LayerWeights,
  o: LayerBuffers,
  { index, firstRow, hooks }: LayerRun,
  alone: boolean,
): void {
  addLora(device, weights.lora?.q, o.routing, o.normed, o.qProjected, alone);
  if (weights.qBias) device.addBias(weights.qBias, o.qProjected);
  if (weights.qNorm) device.rmsNorm(o.qProjected, weights.qNorm, o.q, eps);
  hooks.onQueries?.(index, o.q, firstRow);
}

/** What the way back through one layer needs beside its buffers. */
export interface LayerWayBack {
  /** As `LayerRun.table`. */
  readonly table: Tensor | null;
  /** Whether something below the layer is trained: else the way ends with the lowest of its weights that is. */
  readonly below: boolean;
  readonly router: RouterFactors;
  /** [t, experts] what the gradient by `b.routing` is added to, whole where `below` is true; null: nobody asks for it. */
  readonly dRouting: Tensor | null;
}

/**
 * Of `decoderLayer`, run over rows of its own: keys and values are `b.k` and `b.v`, no stretches, base 0, the same buffers for all t tokens.
 * `b` (`keptBuffers`) stands as it was left, and some of it is overwritten.
 *
 * @param dResidual [t, hidden]: the gradient by the residual stream behind the layer becomes that by the one before it; it is undefined
 *   behind where `below` is false
 */
export function decoderLayerBackward(
  device: TrainDevice,
  facts: LayerFacts,
  weights: LayerWeights,
  gradients: LayerGradients,
  b: LayerBuffers,
  dResidual: Tensor,
  { table, below, router, dRouting }: LayerWayBack,
): void {
  const { nHeads, nKvHeads, headDim, eps, activation } = facts;
  const mark = device.mark();
  const scratchLike = (t: Tensor) => device.scratch('f32', t.shape);
  const toNormed = below || gradients.inputNorm !== null;
  const toScores = toNormed || gradients.qNorm !== null || gradients.kNorm !== null || trains(gradients, 'q', 'k', 'v');
  const toAttention = toScores || gradients.postAttentionNorm !== null || trains(gradients, 'o');
  const toFeedForward = toAttention || gradients.feedForwardNorm !== null;

  const dIn = scratchLike(b.normed); // by feedForwardIn, then by normed
  const routing = b.routing && { coefficients: b.routing, gradient: dRouting };
  const { feedForward: inner } = weights;
  const dInner = gradients.feedForward;
  const dAdded = addedBackward(
    ...([device, facts, dResidual, b.feedForwardProjected] as const),
    ...([weights.postFeedForwardNorm, gradients.postFeedForwardNorm] as const),
  );
  const to = toFeedForward ? dIn : null;
  if (inner.kind === 'dense' && dInner.kind === 'dense') {
    feedForwardBackward(device, activation, inner, dInner, routing, b.feedForwardIn, b.dense!, dAdded, to);
  } else if (inner.kind === 'mixture' && dInner.kind === 'mixture') {
    const [rule, x] = [facts.router!, b.feedForwardIn];
    mixtureBackward(device, activation, inner, dInner, rule, router, routing, x, b.mixture!, dAdded, to);
  }
  if (toFeedForward) {
    device.rmsNormBackward(b.middle, weights.feedForwardNorm, dIn, eps, dResidual, gradients.feedForwardNorm);
  }
  if (toAttention) {
    const dAttentionAdded = addedBackward(
      ...([device, facts, dResidual, b.attentionProjected] as const),
      ...([weights.postAttentionNorm, gradients.postAttentionNorm] as const),
    );
    const dAttended = toScores ? scratchLike(b.attended) : null;
    projectionBackward(device, 'o', weights, gradients, routing, b.attended, dAttentionAdded, dAttended);
    if (dAttended) {
      const [dQ, dK, dV] = [b.q, b.k, b.v].map(scratchLike) as [Tensor, Tensor, Tensor];
      device.fill(dK, 0);
      device.fill(dV, 0);
      device.attentionBackward({
        q: b.q,
        keys: b.k,
        values: b.v,
        out: b.attended,
        base: 0,
        nHeads,
        nKvHeads,
        headDim,
        scale: facts.attentionScale,
        window: facts.window,
        mask: maskOf(facts, b),
        logSumExp: b.logSumExp!,
        dOut: dAttended,
        dQ,
        dKeys: dK,
        dValues: dV,
      });
      if (table) {
        device.ropeBackward(dQ, table, b.positions, facts.queryLayout);
        device.ropeBackward(dK, table, b.positions, facts.keyLayout);
      }
      const dQProjected = normBackward(device, b.qProjected, weights.qNorm, dQ, eps, gradients.qNorm);
      const dKProjected = normBackward(device, b.kProjected, weights.kNorm, dK, eps, gradients.kNorm);
      const dNormed = toNormed ? dIn : null;
      projectionBackward(device, 'q', weights, gradients, routing, b.normed, dQProjected, dNormed);
      projectionBackward(device, 'k', weights, gradients, routing, b.normed, dKProjected, dNormed, true);
      projectionBackward(device, 'v', weights, gradients, routing, b.normed, dV, dNormed, true);
      if (dNormed) device.rmsNormBackward(b.hidden, weights.inputNorm, dNormed, eps, dResidual, gradients.inputNorm);
    }
  }
  device.reset(mark);
}

/** Of what a block adds to the residual stream, by what it gave before the norm behind it and the factor. Scratch, or dResidual itself. */
function addedBackward(
  device: TrainDevice,
  { residualScale, eps }: LayerFacts,
  dResidual: Tensor,
  projected: Tensor,
  norm: Tensor | null,
  dNorm: Tensor | null,
): Tensor {
  let dOut = dResidual;
  if (residualScale !== 1) {
    dOut = device.scratch('f32', dResidual.shape);
    device.copyRows(dResidual, dOut, 0);
    device.scale(dOut, residualScale);
  }
  return normBackward(device, projected, norm, dOut, eps, dNorm);
}

/** Of a norm that a layer may lack: by what it was given, in scratch; dY itself without one. */
function normBackward(
  device: TrainDevice,
  x: Tensor,
  norm: Tensor | null,
  dY: Tensor,
  eps: number,
  dNorm: Tensor | null,
): Tensor {
  if (!norm) return dY;
  const dX = device.scratch('f32', x.shape);
  device.fill(dX, 0);
  device.rmsNormBackward(x, norm, dY, eps, dX, dNorm);
  return dX;
}
