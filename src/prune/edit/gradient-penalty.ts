import type { Tensor } from '../../device/device.ts';
import { EspalierError } from '../../errors.ts';
import type { MicroBatch, Parameter, Trainable } from '../../train/trainable.ts';

/** factor · ‖∇_A L‖², L the sum of what batches ask. */
export interface GradientPenalty {
  readonly batches: readonly MicroBatch[];
  readonly factor: number;
}

type Trained = Parameter & { readonly gradient: Tensor };

export interface PenaltyOptions {
  /** Length of the step of the finite difference, as a share of the norm of A. Default 0.01. */
  readonly share?: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Puts the gradient of a penalty in the place of all gradients; what a step asks beside it is added behind. With g = ∇_A L and u = g / ‖g‖ it is
 * 2 factor · H g, of everything that is trained, and H g ≈ ‖g‖ (∇L(A + ε u) − ∇L(A − ε u)) / 2 ε (Pearlmutter 1994): three passes in place
 * of a second differentiation.
 *
 * @param isPenalised which of the parameters A is; of those that are trained
 * @returns the penalty; where it is not finite, neither are gradients. Weights keep their bits, whatever is thrown
 * @throws E_ARGUMENT where none of A is trained; as `Trainable.step`
 */
export async function gradientPenalty(
  trainable: Trainable,
  { batches, factor }: GradientPenalty,
  isPenalised: (parameter: Parameter) => boolean,
  { share = 0.01, signal }: PenaltyOptions = {},
): Promise<number> {
  const { device } = trainable;
  const trained = trainable.parameters.filter((own): own is Trained => own.gradient !== null);
  const penalised = trained.filter(isPenalised);
  if (penalised.length === 0) {
    throw new EspalierError(
      'E_ARGUMENT',
      'A gradient is penalised, and nothing of it is trained.',
      'Train some of it.',
    );
  }
  const differentiate = async (): Promise<void> => {
    trainable.zeroGradients();
    for (const batch of batches) await trainable.step(batch, { signal });
  };
  const made: Tensor[] = [];
  const copyOf = (x: Tensor): Tensor => {
    const copy = device.tensor('f32', x.shape);
    made.push(copy);
    device.fill(copy, 0);
    device.axpy(1, x, copy);
    return copy;
  };
  try {
    await differentiate();
    const squares = device.tensor('f32', [1]);
    made.push(squares);
    device.fill(squares, 0);
    for (const { gradient } of penalised) device.sumSquares(gradient, squares);
    const [squared, ...kept] = (await device.read([squares, ...penalised.map(({ value }) => value)])) as Float32Array[];
    const norm = Math.sqrt(squared![0]!);
    if (!Number.isFinite(norm)) return norm;
    // all B zeros: the gradient of A is nothing, and so is the penalty's
    if (norm === 0) {
      trainable.zeroGradients();
      return 0;
    }
    const size = share * (Math.hypot(...kept.map((values) => normOf(values))) || 1);
    const directions = penalised.map(({ gradient }) => copyOf(gradient));
    const moveTo = (by: number): void => {
      for (const [i, { value }] of penalised.entries()) {
        device.write(value, kept[i]!);
        if (by !== 0) device.axpy(by / norm, directions[i]!, value);
      }
      trainable.repack();
    };
    try {
      moveTo(size);
      await differentiate();
      const above = trained.map(({ gradient }) => copyOf(gradient));
      moveTo(-size);
      await differentiate();
      for (const [i, { gradient }] of trained.entries()) {
        device.axpy(-1, above[i]!, gradient);
        device.scale(gradient, (-factor * norm) / size);
      }
    } finally {
      moveTo(0);
    }
    return factor * norm * norm;
  } finally {
    for (const tensor of made) tensor.dispose();
  }
}

function normOf(values: Float32Array): number {
  let sum = 0;
  for (const value of values) sum += value * value;
  return Math.sqrt(sum);
}
