import type { GateInputs, GateOf } from '../../checkpoint/adapter/gate-kinds.ts';
import type { Device, Tensor } from '../../device/device.ts';
import type { TrainDevice } from '../../device/train-device.ts';

type LinearGate = GateOf<Tensor, 'hidden' | 'both' | 'literal'>;

/**
 * The gates without a layer between: logits = out · h + entropy · S + outBias, each of these three where the kind has it. h [T, hidden] are the hidden
 * states of the unadapted model behind its last norm, S [T, 1] its entropies.
 *
 * @param logits [T, slots], replaced
 */
export function linearGateForward(
  device: Device,
  weights: LinearGate,
  { now, entropy }: GateInputs<Tensor>,
  logits: Tensor,
  alone: boolean,
): void {
  const hasStates = 'out' in weights;
  if (hasStates) device.matmul(now!, weights.out, logits, { transposeB: true, alone });
  if ('entropy' in weights) {
    device.matmul(entropy!, weights.entropy, logits, { transposeB: true, accumulate: hasStates, alone });
  }
  if ('outBias' in weights) device.addBias(weights.outBias, logits);
}

/** Of `linearGateForward`, by its weights, which it does not depend on. Adds to the gradients. */
export function linearGateBackward(
  device: TrainDevice,
  { now, entropy }: GateInputs<Tensor>,
  dLogits: Tensor,
  gradients: LinearGate,
): void {
  const options = { transposeA: true, accumulate: true };
  if ('out' in gradients) device.matmul(dLogits, now!, gradients.out, options);
  if ('entropy' in gradients) device.matmul(dLogits, entropy!, gradients.entropy, options);
  if ('outBias' in gradients) device.columnSum(dLogits, gradients.outBias);
}
