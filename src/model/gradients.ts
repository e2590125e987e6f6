import type { FEED_FORWARD_PARTS, LAYER_PARTS, MIXTURE_PARTS, Parts } from '../checkpoint/layer-tensors.ts';
import type { Tensor } from '../device/device.ts';
import type { TrainDevice } from '../device/train-device.ts';
import { addLoraBackward, type LoraGradient, type LoraTerms, type RoutingPair } from './lora.ts';

/** Of the terms of a block's matrices, as `LoraTerms` lists them; null: frozen. */
export type LoraGradients<Part extends string> = { readonly [P in Part]?: readonly (LoraGradient | null)[] };

/** By the weights of one decoder layer, as `LayerWeights` has them: f32 rows that are added to; null where it is frozen, or has none. */
export interface LayerGradients extends Parts<typeof LAYER_PARTS, Tensor | null> {
  readonly feedForward: FeedForwardGradients | MixtureGradients;
  readonly lora?: LoraGradients<'q' | 'k' | 'v' | 'o'>;
}

export interface FeedForwardGradients extends Parts<typeof FEED_FORWARD_PARTS, Tensor | null> {
  readonly kind: 'dense';
  readonly lora?: LoraGradients<'gate' | 'up' | 'down'>;
}

export interface MixtureGradients extends Parts<typeof MIXTURE_PARTS, Tensor | null> {
  readonly kind: 'mixture';
  readonly gate: Tensor | null; // [experts, expertSize, hidden]
  readonly up: Tensor | null; // [experts, expertSize, hidden]
  readonly down: Tensor | null; // [experts, hidden, expertSize]
  readonly shared: FeedForwardGradients | null;
}

/** By all weights of a decoder. Where the embedding is the output matrix, both ways lead to one tensor. */
export interface DecoderGradients {
  readonly embedding: Tensor | null; // [vocab, hidden]
  readonly layers: readonly LayerGradients[];
  readonly norm: Tensor | null; // [hidden]
  readonly head: Tensor | null; // [vocab, hidden]
}

type Matrices<Part extends string> = Readonly<Record<Part, Tensor>> & { readonly lora?: LoraTerms<Part> };
type MatrixGradients<Part extends string> = Readonly<Record<Part | `${Part}Bias`, Tensor | null>> & {
  readonly lora?: LoraGradients<Part>;
};

/** Whether one of these matrices, its bias or a term of an adapter on it is trained. */
export function trains<Part extends string>(gradients: MatrixGradients<Part>, ...parts: readonly Part[]): boolean {
  return parts.some(
    (part) =>
      gradients[part] !== null ||
      gradients[`${part}Bias`] !== null ||
      (gradients.lora?.[part]?.some((of) => of && (of.a || of.b)) ?? false),
  );
}

/** Whether anything of a layer is trained. */
export function trainsLayer(gradients: LayerGradients): boolean {
  const { feedForward, lora, ...own } = gradients;
  if (trainsAny(own) || trains(gradients, 'q', 'k', 'v', 'o')) return true;
  if (feedForward.kind === 'dense') return trains(feedForward, 'gate', 'up', 'down');
  const { kind, shared, ...routed } = feedForward;
  return trainsAny(routed) || (shared !== null && trains(shared, 'gate', 'up', 'down'));
}

/** Not by name: a tensor that is new in a layer's table is among them. */
function trainsAny(gradients: Readonly<Record<string, Tensor | null>>): boolean {
  return Object.values(gradients).some((gradient) => gradient !== null);
}

/**
 * Of y [T, N] = x [T, K] · Wᵀ + bias + what adapters add: dW += dYᵀ x, dBias += Σ dY, those of the adapters, and dX = dY · W + theirs.
 *
 * @param routing as of `addLoraBackward`
 * @param dX null where nobody asks for it
 * @param accumulate dX += …
 */
export function projectionBackward<Part extends string>(
  device: TrainDevice,
  part: Part,
  weights: Matrices<NoInfer<Part>>,
  gradients: MatrixGradients<NoInfer<Part>>,
  routing: RoutingPair | null,
  x: Tensor,
  dY: Tensor,
  dX: Tensor | null,
  accumulate = false,
): void {
  const [dWeight, dBias] = [gradients[part], gradients[`${part}Bias`]] as readonly (Tensor | null)[];
  if (dBias) device.columnSum(dY, dBias);
  if (dWeight) device.matmul(dY, x, dWeight, { transposeA: true, accumulate: true });
  if (dX) device.linearBackward(dY, weights[part], dX, accumulate);
  addLoraBackward(device, weights.lora?.[part], gradients.lora?.[part], routing, x, dY, dX);
}
