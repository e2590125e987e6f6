import type { FusedDevice } from '../../device/fused-device.ts';
import { stepOf } from '../layer-attention.ts';
import type { LayerBuffers } from '../layer-buffers.ts';
import type { LayerFacts, LayerRun } from '../layer-run.ts';
import type { LayerWeights } from '../weights.ts';

/** Whether `fusedLayer` computes a layer: nothing stands between a product and the residual stream, nor between gate, up and what they gate. */
export function canFuse({ residualScale }: LayerFacts, weights: LayerWeights): boolean {
  const { lora, oBias, postAttentionNorm, postFeedForwardNorm, feedForward } = weights;
  if (feedForward.kind !== 'dense' || residualScale !== 1) return false;
  if (lora || oBias || postAttentionNorm || postFeedForwardNorm) return false;
  return !(feedForward.lora || feedForward.gateBias || feedForward.upBias || feedForward.downBias);
}

/**
 * One layer of the decoder for rows that are the next tokens of sequences of their own: what `decoderLayer` computes, to the bit, in fewer commands, and with
 * both norms and both additions. The residual stream in `hidden` is that before the layer and becomes that behind it; `normed` is not used.
 */
export function fusedLayer(
  device: FusedDevice,
  facts: LayerFacts,
  weights: LayerWeights,
  b: LayerBuffers,
  run: LayerRun,
): void {
  const { eps, activation } = facts;
  const { q, k, v, o, qBias, kBias, vBias, qNorm, kNorm, inputNorm, feedForwardNorm, feedForward } = weights;
  device.normLinear(b.hidden, inputNorm, eps, [q, k, v], [b.qProjected, b.kProjected, b.v]);
  if (qBias) device.addBias(qBias, b.qProjected);
  if (kBias) device.addBias(kBias, b.kProjected);
  if (vBias) device.addBias(vBias, b.v);
  if (qNorm) device.rmsNorm(b.qProjected, qNorm, b.q, eps);
  if (kNorm) device.rmsNorm(b.kProjected, kNorm, b.k, eps);
  device.attendLinear(stepOf(facts, b, run), o, b.hidden);
  if (feedForward.kind !== 'dense') return; // `canFuse` has looked
  const { gate, up, down } = feedForward;
  device.normGated(activation, b.hidden, feedForwardNorm, eps, gate, up, b.dense!.product);
  device.addLinear(b.dense!.product, down, b.hidden);
}
