import type { GateWeightName } from '../../checkpoint/adapter/routing.ts';
import type { Device, Tensor } from '../../device/device.ts';
import type { TrainDevice } from '../../device/train-device.ts';

/** The slot of "no forget expert". */
export const NULL_SLOT = 0;

/** Weights of a gate on a device, f32 rows. */
export interface GateWeights extends Readonly<Record<GateWeightName, Tensor>> {
  readonly mean: Tensor; // [units, hidden]
  readonly now: Tensor; // [units, hidden]
  readonly bias: Tensor; // [units]
  readonly out: Tensor; // [slots, units]
  readonly outBias: Tensor; // [slots]
}

/** What a pass through a gate keeps for its way back; scratch. */
export interface GatePass {
  readonly inner: Tensor; // [T, units]: before the activation
  readonly ones: Tensor; // [T, units]
  readonly active: Tensor; // [T, units]
}

/**
 * One gate for a whole model, a perceptron with one layer between (SiLU) over what the unadapted model knows at each position, its hidden
 * states behind the last norm: logits = out · silu(mean · m + now · h + bias) + outBias, h [T, hidden] the states and m [T, hidden] their mean
 * over the text so far. A gate at each site, linear in its own input, collapses to the null slot; this one does not.
 *
 * @param logits [T, slots], replaced
 */
export function gateForward(device: Device, weights: GateWeights, m: Tensor, h: Tensor, logits: Tensor): GatePass {
  const shape = [h.shape[0]!, weights.bias.shape[0]!];
  const [inner, ones, active] = [0, 1, 2].map(() => device.scratch('f32', shape)) as [Tensor, Tensor, Tensor];
  device.matmul(m, weights.mean, inner, { transposeB: true });
  device.matmul(h, weights.now, inner, { transposeB: true, accumulate: true });
  device.addBias(weights.bias, inner);
  // an activation alone is one that gates nothing
  device.write(ones, new Float32Array(shape[0]! * shape[1]!).fill(1));
  device.gatedActivation('silu', inner, ones, active);
  device.matmul(active, weights.out, logits, { transposeB: true });
  device.addBias(weights.outBias, logits);
  return { inner, ones, active };
}

/** Of `gateForward`, by its weights: what it is computed from is frozen. Adds to the gradients; `inner` and `ones` are used up. */
export function gateBackward(
  device: TrainDevice,
  weights: GateWeights,
  { inner, ones, active }: GatePass,
  m: Tensor,
  h: Tensor,
  dLogits: Tensor,
  gradients: GateWeights,
): void {
  device.matmul(dLogits, active, gradients.out, { transposeA: true, accumulate: true });
  device.columnSum(dLogits, gradients.outBias);
  device.matmul(dLogits, weights.out, active);
  device.gatedActivationBackward('silu', inner, ones, active, inner, ones);
  device.matmul(inner, m, gradients.mean, { transposeA: true, accumulate: true });
  device.matmul(inner, h, gradients.now, { transposeA: true, accumulate: true });
  device.columnSum(inner, gradients.bias);
}
