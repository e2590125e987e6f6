import type { Device, GatedActivation, Precision, Tensor } from '../device/device.ts';
import type { TrainDevice } from '../device/train-device.ts';
import { type FeedForwardGradients, projectionBackward, trains } from './gradients.ts';
import { addLora, type RoutingPair } from './lora.ts';
import type { FeedForwardWeights } from './weights.ts';

/** Scratch of a feed-forward of t rows. */
export interface FeedForwardBuffers {
  readonly gate: Tensor; // [t, inner]
  readonly up: Tensor; // [t, inner]
  readonly product: Tensor; // [t, inner]: act(gate) · up; may be gate
}

export function feedForwardBuffers(device: Device, rows: number, inner: number): FeedForwardBuffers {
  const gate = device.scratch('f32', [rows, inner]);
  return { gate, up: device.scratch('f32', [rows, inner]), product: gate };
}

/** The same with a product of its own, for the way back. */
export function keptFeedForward(device: Device, rows: number, inner: number): FeedForwardBuffers {
  return { ...feedForwardBuffers(device, rows, inner), product: device.scratch('f32', [rows, inner]) };
}

/**
 * out [t, hidden] = down · (act(gate · x) · (up · x)), with biases and terms of adapters where there are any.
 *
 * @param routing as of `addLora`
 * @param out null where only the buffers are wanted
 * @param alone as in `Device.linear`
 */
export function feedForward(
  device: Device,
  activation: GatedActivation,
  weights: FeedForwardWeights,
  routing: Tensor | null,
  x: Tensor,
  b: FeedForwardBuffers,
  out: Tensor | null,
  precision: Precision,
  alone = false,
): void {
  device.linear(x, [weights.gate, weights.up], [b.gate, b.up], precision, alone);
  addLora(device, weights.lora?.gate, routing, x, b.gate, alone);
  addLora(device, weights.lora?.up, routing, x, b.up, alone);
  if (weights.gateBias) device.addBias(weights.gateBias, b.gate);
  if (weights.upBias) device.addBias(weights.upBias, b.up);
  device.gatedActivation(activation, b.gate, b.up, b.product);
  if (!out) return;
  device.linear(b.product, [weights.down], [out], precision, alone);
  addLora(device, weights.lora?.down, routing, b.product, out, alone);
  if (weights.downBias) device.addBias(weights.downBias, out);
}

/**
 * Of `feedForward`, whose `x` and buffers stand as it left them; gate and up become their gradients.
 *
 * @param routing as of `addLoraBackward`
 * @param dOut [t, hidden]
 * @param dX [t, hidden]; null where nobody asks for it
 * @param accumulate dX += …
 */
export function feedForwardBackward(
  device: TrainDevice,
  activation: GatedActivation,
  weights: FeedForwardWeights,
  gradients: FeedForwardGradients,
  routing: RoutingPair | null,
  x: Tensor,
  b: FeedForwardBuffers,
  dOut: Tensor,
  dX: Tensor | null,
  accumulate = false,
): void {
  const mark = device.mark();
  const inner = dX !== null || trains(gradients, 'gate', 'up');
  const dProduct = inner ? device.scratch('f32', b.product.shape) : null;
  projectionBackward(device, 'down', weights, gradients, routing, b.product, dOut, dProduct);
  if (dProduct) {
    device.gatedActivationBackward(activation, b.gate, b.up, dProduct, b.gate, b.up);
    projectionBackward(device, 'gate', weights, gradients, routing, x, b.gate, dX, accumulate);
    projectionBackward(device, 'up', weights, gradients, routing, x, b.up, dX, true);
  }
  device.reset(mark);
}
