import type { GateOf } from '../../checkpoint/adapter/gate-kinds.ts';
import type { Device, Tensor } from '../../device/device.ts';
import type { TrainDevice } from '../../device/train-device.ts';

/** What a pass keeps for its way back; scratch. */
export interface PerceptronPass {
  readonly inner: Tensor; // [T, units]: before the activation
  readonly ones: Tensor; // [T, units]
  readonly active: Tensor; // [T, units]
}

/**
 * The gate `global`, one layer between (SiLU): logits = out · silu(mean · m + now · h + bias) + outBias, h [T, hidden] the hidden states of the unadapted
 * model behind its last norm and m [T, hidden] their mean over the text so far.
 *
 * @param logits [T, slots], replaced
 */
export function perceptronForward(
  device: Device,
  weights: GateOf<Tensor, 'global'>,
  m: Tensor,
  h: Tensor,
  logits: Tensor,
  alone: boolean,
): PerceptronPass {
  const shape = [h.shape[0]!, weights.bias.shape[0]!];
  const [inner, ones, active] = [0, 1, 2].map(() => device.scratch('f32', shape)) as [Tensor, Tensor, Tensor];
  device.matmul(m, weights.mean, inner, { transposeB: true, alone });
  device.matmul(h, weights.now, inner, { transposeB: true, accumulate: true, alone });
  device.addBias(weights.bias, inner);
  // an activation alone is one that gates nothing
  device.write(ones, new Float32Array(shape[0]! * shape[1]!).fill(1));
  device.gatedActivation('silu', inner, ones, active);
  device.matmul(active, weights.out, logits, { transposeB: true, alone });
  device.addBias(weights.outBias, logits);
  return { inner, ones, active };
}

/** Of `perceptronForward`, by its weights. Adds to the gradients; what the pass kept is used up. */
export function perceptronBackward(
  device: TrainDevice,
  weights: GateOf<Tensor, 'global'>,
  { inner, ones, active }: PerceptronPass,
  m: Tensor,
  h: Tensor,
  dLogits: Tensor,
  gradients: GateOf<Tensor, 'global'>,
): void {
  device.matmul(dLogits, active, gradients.out, { transposeA: true, accumulate: true });
  device.columnSum(dLogits, gradients.outBias);
  device.matmul(dLogits, weights.out, active);
  device.gatedActivationBackward('silu', inner, ones, active, inner, ones);
  device.matmul(inner, m, gradients.mean, { transposeA: true, accumulate: true });
  device.matmul(inner, h, gradients.now, { transposeA: true, accumulate: true });
  device.columnSum(inner, gradients.bias);
}
