import type { ModelConfig } from '../checkpoint/types.ts';
import type { Tensor } from '../device/device.ts';
import type { TrainDevice } from '../device/train-device.ts';
import { EspalierError } from '../errors.ts';
import type { ReferencePass } from './loss-rows.ts';
import type { MicroBatch } from './trainable.ts';

/** What is asked of the residual stream behind a layer, and what comes out; scratch. */
export interface Steering {
  readonly layer: number;
  /** [T, hidden]: less the target; `steer` makes the gradient by the residual stream of it. */
  readonly gradient: Tensor;
  readonly slopes: Tensor; // [T, 1]: 2 · weight / hidden
  readonly squares: Tensor; // [T, 1]: gets |h − target|²
}

/** @throws E_ARGUMENT where the states of a reference are asked for that is not there, or is no model of this shape; E_ABORTED */
export async function steeringOf(
  device: TrainDevice,
  { hiddenSize }: ModelConfig,
  batch: MicroBatch,
  reference: ReferencePass | undefined,
  signal: AbortSignal | undefined,
): Promise<Steering | null> {
  const { steering } = batch;
  if (!steering?.weights.some((weight) => weight !== 0)) return null;
  const { layer, target, weights } = steering;
  const t = batch.ids.length;
  const gradient = target === null ? await referenceStates() : device.scratch('f32', [t, hiddenSize]);
  if (target === null) device.scale(gradient, -1);
  else {
    const less = device.scratch('f32', [hiddenSize]);
    device.write(
      less,
      target.map((x) => -x),
    );
    device.fill(gradient, 0);
    device.addBias(less, gradient);
  }
  const [slopes, squares] = [device.scratch('f32', [t, 1]), device.scratch('f32', [t, 1])];
  device.write(
    slopes,
    weights.map((weight) => (2 * weight) / hiddenSize),
  );
  device.fill(squares, 0);
  return { layer, gradient, slopes, squares };

  async function referenceStates(): Promise<Tensor> {
    const states = await reference?.hidden(batch, layer, signal);
    if (states?.shape[1] === hiddenSize) return states;
    throw new EspalierError(
      'E_ARGUMENT',
      states === undefined
        ? 'Steering to the states of a reference is asked for, and there is none.'
        : `The reference has hidden states of ${states.shape[1]} numbers, and the model of ${hiddenSize}.`,
      'Give a reference of the same shape, or a target.',
    );
  }
}

/**
 * Forward and back in one, since the gradient by h is known with h: Σ weights · |h − target|² / hidden gives 2 · weight / hidden · (h − target).
 * @param hidden [T, hidden]: the residual stream behind the layer, which stays
 */
export function steer(device: TrainDevice, { gradient, slopes, squares }: Steering, hidden: Tensor): void {
  device.add(hidden, gradient);
  device.scaleRowsBackward(gradient, slopes, 0, gradient, null, squares);
  device.scaleRows(gradient, slopes, 0, gradient);
}
