import type { GateInputs } from '../../checkpoint/adapter/gate-kinds.ts';
import { ROUTING_RULE } from '../../checkpoint/adapter/routing.ts';
import { exclusive } from '../../device/exclusive.ts';
import { EspalierError } from '../../errors.ts';
import { checked, filled } from '../../options/check.ts';
import { defaulting, real, type Schema } from '../../options/rules.ts';
import type { MicroBatch, PassLosses, PassOptions, Trainable } from '../../train/trainable.ts';
import { checkInputs, type TrainableGate } from './train-gate.ts';

/** How a gate shares every position among all experts while it is trained by what they do. */
export interface SoftRoutingOptions {
  /** What logits are divided by. Default 0.8, as the rule has it where the entropy is high; at 0.01 next to no gradient would pass. */
  readonly temperature?: number;
  /** What all coefficients are multiplied by. Default 1. */
  readonly strength?: number;
}

export const softRoutingOptions = {
  temperature: defaulting(real(0, Number.MAX_VALUE, { above: true }), ROUTING_RULE.temperature),
  strength: defaulting(real(0, Number.MAX_VALUE, { above: true }), ROUTING_RULE.strength),
} as const satisfies Schema<SoftRoutingOptions>;

/**
 * A step of a trainable whose experts a gate mixes, with a way back to the gate: the router is trained by the loss itself, through its softmax,
 * as HydraLoRA's are (arXiv 2404.19245), and not by a cross-entropy to the right slots. With p = softmax(logits / temperature) over the slots, the
 * coefficients are c_e = strength · p_e at every position and of every expert, whatever the entropy; the null slot has none.
 * dlogit_s = p_s (g_s − Σ_j p_j g_j) / temperature, with g_e = strength · dc_e and 0 for the null slot.
 *
 * Adds to the gradients of both; the trainable's are those of what it trains at the moment, which may be nothing.
 * @param batch without a routing of its own
 * @param inputs what the gate reads at each row of the batch, as `gateExamples` gives it
 * @throws E_ARGUMENT for options, inputs of another kind or length, and a batch with a routing; as `Trainable.step`
 */
export async function softRoutingStep(
  trainable: Trainable,
  gate: TrainableGate,
  batch: MicroBatch,
  inputs: GateInputs<Float32Array>,
  pass: PassOptions = {},
  options: SoftRoutingOptions = {},
): Promise<PassLosses> {
  const given = filled(softRoutingOptions, checked<SoftRoutingOptions>(softRoutingOptions, options, 'softRoutingStep'));
  const { temperature, strength } = given;
  const { slots } = gate.shape;
  const count = batch.ids.length;
  checkInputs(gate.shape, inputs, count);
  if (batch.routing) {
    throw new EspalierError('E_ARGUMENT', 'The batch has a routing, which the gate shall give it.', 'Leave it out.');
  }
  const logits = await exclusive(gate.device, () => gate.logits(inputs, 0, count));
  const shares = slotShares(logits, slots, temperature);
  const routing = new Float32Array(count * (slots - 1));
  forExperts(slots, count, (share, at) => {
    routing[at] = strength * shares[share]!;
  });
  let gradient: Float32Array | null = null;
  const losses = await trainable.step(
    { ...batch, routing },
    {
      ...pass,
      onRouting: (own) => {
        gradient = own;
        pass.onRouting?.(own);
      },
    },
  );
  const byShare = new Float64Array(count * slots);
  forExperts(slots, count, (share, at) => {
    byShare[share] = strength * gradient![at]!;
  });
  await exclusive(gate.device, () =>
    gate.backward(inputs, count, () => slotSharesBackward(shares, byShare, slots, temperature)),
  );
  return losses;
}

/** Rows become softmax(row / temperature), in f64. */
function slotShares(logits: Float32Array, slots: number, temperature: number): Float64Array {
  const shares = new Float64Array(logits.length);
  for (let first = 0; first < logits.length; first += slots) {
    const row = logits.subarray(first, first + slots);
    const largest = row.reduce((most, x) => Math.max(most, x));
    let total = 0;
    for (const [s, x] of row.entries()) total += shares[first + s] = Math.exp((x - largest) / temperature);
    for (let s = 0; s < slots; s++) shares[first + s]! /= total;
  }
  return shares;
}

/** Of `slotShares`: dlogit_s = p_s (g_s − Σ_j p_j g_j) / temperature. */
function slotSharesBackward(
  shares: Float64Array,
  gradient: Float64Array,
  slots: number,
  temperature: number,
): Float32Array {
  const out = new Float32Array(shares.length);
  for (let first = 0; first < shares.length; first += slots) {
    let mean = 0;
    for (let s = first; s < first + slots; s++) mean += shares[s]! * gradient[s]!;
    for (let s = first; s < first + slots; s++) out[s] = (shares[s]! * (gradient[s]! - mean)) / temperature;
  }
  return out;
}

/** Goes through rows of slots [count, slots] and of coefficients [count, slots - 1]. */
function forExperts(slots: number, count: number, visit: (share: number, coefficient: number) => void): void {
  // the null slot is the first
  for (let row = 0; row < count; row++) {
    for (let slot = 1; slot < slots; slot++) visit(row * slots + slot, row * (slots - 1) + slot - 1);
  }
}
