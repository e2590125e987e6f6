import type { MoeConfig, RouterRule } from '../checkpoint/types.ts';
import type { Device, GatedActivation, Precision, Tensor } from '../device/device.ts';
import type { TrainDevice } from '../device/train-device.ts';
import {
  type FeedForwardBuffers,
  feedForward,
  feedForwardBackward,
  feedForwardBuffers,
  keptFeedForward,
} from './feed-forward.ts';
import { type MixtureGradients, trains } from './gradients.ts';
import type { RoutingPair } from './lora.ts';
import type { MixtureWeights } from './weights.ts';

/** How t tokens were routed: scratch, to be read before the callback that got it resolves. */
export interface RoutingTensors {
  readonly logits: Tensor; // [t, experts] f32, of the router
  readonly places: Tensor; // [t, topK] i32, the experts of each token by descending score
  readonly weights: Tensor; // [t, topK] f32
  readonly order: Tensor; // [t · topK] i32, slots by expert
  readonly offsets: Tensor; // [experts + 1] i32
}

/** Scratch of a mixture of t tokens, whose s = t · topK slots stand in the order of their experts. */
export interface MixtureBuffers {
  readonly routing: RoutingTensors;
  readonly x: Tensor; // [s, hidden]
  readonly gate: Tensor; // [s, expertSize]
  readonly up: Tensor; // [s, expertSize]
  readonly product: Tensor; // [s, expertSize]: act(gate) · up; may be gate
  readonly y: Tensor; // [s, hidden]
  readonly shared: FeedForwardBuffers | null; // of sharedSize
  readonly sharedProjected: Tensor | null; // [t, hidden]: before its gate; may be sharedOut
  readonly sharedOut: Tensor | null; // [t, hidden]
  readonly sharedGate: Tensor | null; // [t, 1]
}

export function mixtureBuffers(device: Device, tokens: number, hidden: number, moe: MoeConfig): MixtureBuffers {
  const { experts, topK, expertSize, sharedSize } = moe;
  const floats = (...shape: number[]) => device.scratch('f32', shape);
  const slots = tokens * topK;
  const gate = floats(slots, expertSize);
  const sharedOut = sharedSize > 0 ? floats(tokens, hidden) : null;
  return {
    routing: {
      logits: floats(tokens, experts),
      places: device.scratch('i32', [tokens, topK]),
      weights: floats(tokens, topK),
      order: device.scratch('i32', [slots]),
      offsets: device.scratch('i32', [experts + 1]),
    },
    x: floats(slots, hidden),
    gate,
    up: floats(slots, expertSize),
    product: gate,
    y: floats(slots, hidden),
    shared: sharedSize > 0 ? feedForwardBuffers(device, tokens, sharedSize) : null,
    sharedProjected: sharedOut,
    sharedOut,
    sharedGate: moe.sharedGate ? floats(tokens, 1) : null,
  };
}

/** The same with nothing overwritten, for the way back. */
export function keptMixture(device: Device, tokens: number, hidden: number, moe: MoeConfig): MixtureBuffers {
  const b = mixtureBuffers(device, tokens, hidden, moe);
  return {
    ...b,
    product: device.scratch('f32', b.gate.shape),
    shared: b.shared && keptFeedForward(device, tokens, moe.sharedSize),
    sharedOut: b.sharedGate ? device.scratch('f32', [tokens, hidden]) : b.sharedOut,
  };
}

/**
 * out [t, hidden] = Σ over a token's experts of weight · expert(x) + (sigmoid(gate · x) ·) shared(x): a mixture of experts in
 * place of a feed-forward. Router and gate are computed exactly whatever the precision: a rounding there can send a token to
 * another expert.
 *
 * @param routing of terms of the shared expert, as of `addLora`
 * @param out null where only the buffers are wanted that the way back reads
 * @param alone as in `Device.linear`
 */
export function mixture(
  device: Device,
  activation: GatedActivation,
  weights: MixtureWeights,
  rule: RouterRule,
  routing: Tensor | null,
  x: Tensor,
  b: MixtureBuffers,
  out: Tensor | null,
  precision: Precision,
  alone = false,
): void {
  const { logits, places, weights: shares, order, offsets } = b.routing;
  device.linear(x, [weights.router], [logits], 'exact', alone);
  device.route(logits, weights.selectionBias, rule, places, shares);
  device.dispatch(places, order, offsets);
  device.gatherRows(x, order, b.x);
  device.linearGrouped(b.x, offsets, [weights.gate, weights.up], [b.gate, b.up], precision, alone);
  device.gatedActivation(activation, b.gate, b.up, b.product);
  device.linearGrouped(b.product, offsets, [weights.down], [b.y], precision, alone);
  if (out) device.combine(b.y, order, shares, out);
  if (!weights.shared) return;
  const shared = out || weights.sharedGate ? b.sharedProjected! : null;
  feedForward(device, activation, weights.shared, routing, x, b.shared!, shared, precision, alone);
  if (weights.sharedGate) {
    device.linear(x, [weights.sharedGate], [b.sharedGate!], 'exact', alone);
    if (!out) return;
    if (b.sharedOut !== b.sharedProjected) device.copyRows(b.sharedProjected!, b.sharedOut!, 0);
    device.sigmoidScale(b.sharedGate!, b.sharedOut!);
  }
  if (out) device.add(b.sharedOut!, out);
}

/** Factors of the losses of routers, those of `TrainDevice.routerLosses`. */
export interface RouterFactors {
  readonly balance: number;
  readonly z: number;
}

/**
 * Of `mixture`, whose `x` and buffers stand as it left them; gates and ups become their gradients. The losses of the router, times their
 * factors, are part of what is differentiated.
 *
 * @param routing of terms of the shared expert, as of `addLoraBackward`
 * @param dOut [t, hidden]
 * @param dX [t, hidden]; null where nobody asks for it
 */
export function mixtureBackward(
  device: TrainDevice,
  activation: GatedActivation,
  weights: MixtureWeights,
  gradients: MixtureGradients,
  rule: RouterRule,
  factors: RouterFactors,
  routing: RoutingPair | null,
  x: Tensor,
  b: MixtureBuffers,
  dOut: Tensor,
  dX: Tensor | null,
): void {
  const mark = device.mark();
  const scratchLike = (t: Tensor) => device.scratch('f32', t.shape);
  const { logits, places, weights: shares, order, offsets } = b.routing;
  const routed = dX !== null || gradients.router !== null;
  const inner = dX !== null || gradients.gate !== null || gradients.up !== null;
  if (routed || inner || gradients.down) {
    const [dY, dShares] = [scratchLike(b.y), scratchLike(shares)];
    device.combineBackward(dOut, b.y, order, shares, dY, dShares);
    if (gradients.down) device.linearGroupedWeights(dY, offsets, b.product, gradients.down);
    if (inner) {
      const dProduct = scratchLike(b.product);
      device.linearGroupedBackward(dY, offsets, weights.down, dProduct);
      device.gatedActivationBackward(activation, b.gate, b.up, dProduct, b.gate, b.up);
      if (gradients.gate) device.linearGroupedWeights(b.gate, offsets, b.x, gradients.gate);
      if (gradients.up) device.linearGroupedWeights(b.up, offsets, b.x, gradients.up);
    }
    if (routed) {
      const dLogits = scratchLike(logits);
      device.fill(dLogits, 0);
      device.routeBackward(logits, rule, places, dShares, dLogits);
      if (factors.balance !== 0 || factors.z !== 0) {
        device.routerLossesBackward(logits, offsets, factors.balance, factors.z, dLogits);
      }
      if (gradients.router) device.matmul(dLogits, x, gradients.router, { transposeA: true, accumulate: true });
      if (dX) device.linearBackward(dLogits, weights.router, dX);
    }
    if (dX) {
      // dY has been used up, and is as large
      device.linearGroupedBackward(b.gate, offsets, weights.gate, dY);
      device.linearGroupedBackward(b.up, offsets, weights.up, dY, true);
      device.gatherRowsBackward(dY, order, dX);
    }
  }
  device.reset(mark);
  if (!weights.shared || !gradients.shared) return;
  let dShared = dOut;
  if (weights.sharedGate && (dX || gradients.sharedGate || trains(gradients.shared, 'gate', 'up', 'down'))) {
    const dGate = scratchLike(b.sharedGate!);
    dShared = scratchLike(dOut);
    device.sigmoidScaleBackward(b.sharedGate!, b.sharedProjected!, dOut, dShared, dGate);
    if (gradients.sharedGate) device.matmul(dGate, x, gradients.sharedGate, { transposeA: true, accumulate: true });
    if (dX) device.linearBackward(dGate, weights.sharedGate, dX, true);
  }
  feedForwardBackward(device, activation, weights.shared, gradients.shared, routing, x, b.shared!, dShared, dX, true);
  device.reset(mark);
}
