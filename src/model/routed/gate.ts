import type { GateInputs, GateOf } from '../../checkpoint/adapter/gate-kinds.ts';
import type { Device, Tensor } from '../../device/device.ts';
import type { TrainDevice } from '../../device/train-device.ts';
import { linearGateBackward, linearGateForward } from './linear-gate.ts';
import { type PerceptronPass, perceptronBackward, perceptronForward } from './perceptron.ts';

/** The slot of "no forget expert". */
export const NULL_SLOT = 0;

/** Weights of a gate on a device, f32 rows, in the shapes of `gateWeightShapes`. */
export type GateWeights = GateOf<Tensor>;

/** What a pass through a gate keeps for its way back; scratch. Linear gates keep nothing. */
export type GatePass = PerceptronPass | null;

/** Slots of a gate, that of no expert among them. */
export function slotsOf(gate: GateWeights): number {
  return (gate.kind === 'literal' ? gate.entropy : gate.outBias).shape[0]!;
}

/**
 * One gate for a whole model: a gate at each site, linear in its own input and trained by cross-entropy, collapses to the null slot. Formulas are at
 * `GATE_KINDS`.
 *
 * @param logits [T, slots], replaced
 * @param alone as in `Device.matmul`
 */
export function gateForward(
  device: Device,
  weights: GateWeights,
  inputs: GateInputs<Tensor>,
  logits: Tensor,
  alone = false,
): GatePass {
  const { kind } = weights;
  switch (kind) {
    case 'global':
      return perceptronForward(device, weights, inputs.mean!, inputs.now!, logits, alone);
    case 'hidden':
    case 'both':
    case 'literal':
      linearGateForward(device, weights, inputs, logits, alone);
      return null;
    default:
      return kind satisfies never;
  }
}

/**
 * Of `gateForward`, by its weights: what it is computed from is frozen. Adds to the gradients; what the pass kept is used up.
 * @param gradients of a gate of the same kind
 */
export function gateBackward(
  device: TrainDevice,
  weights: GateWeights,
  pass: GatePass,
  inputs: GateInputs<Tensor>,
  dLogits: Tensor,
  gradients: GateWeights,
): void {
  const { kind } = weights;
  switch (kind) {
    case 'global': {
      const own = gradients as typeof weights;
      perceptronBackward(device, weights, pass!, inputs.mean!, inputs.now!, dLogits, own);
      return;
    }
    case 'hidden':
    case 'both':
    case 'literal':
      linearGateBackward(device, inputs, dLogits, gradients as typeof weights);
      return;
    default:
      kind satisfies never;
  }
}
