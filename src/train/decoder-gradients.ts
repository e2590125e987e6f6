import { FEED_FORWARD_PARTS, LAYER_PARTS, MIXTURE_PARTS } from '../checkpoint/layer-tensors.ts';
import type { Tensor } from '../device/device.ts';
import type {
  DecoderGradients,
  FeedForwardGradients,
  LayerGradients,
  LoraGradients,
  MixtureGradients,
} from '../model/gradients.ts';
import type { LoraGradient, LoraTerm, LoraTerms } from '../model/lora.ts';
import type { DecoderWeights, FeedForwardWeights, LayerWeights, MixtureWeights } from '../model/weights.ts';

/** Where the gradient by a weight, or by the factors of an adapter, is added up; null: frozen. */
export interface GradientsOf {
  weight(weight: Tensor): Tensor | null;
  term(term: LoraTerm): LoraGradient | null;
}

/** In the shape of the weights. */
export function decoderGradients(
  weights: Pick<DecoderWeights, 'embedding' | 'norm' | 'head'>,
  layers: readonly LayerWeights[],
  of: GradientsOf,
): DecoderGradients {
  return {
    embedding: of.weight(weights.embedding),
    layers: layers.map((layer) => layerGradients(layer, of)),
    norm: of.weight(weights.norm),
    head: weights.head && of.weight(weights.head),
  };
}

function layerGradients(weights: LayerWeights, of: GradientsOf): LayerGradients {
  const { feedForward } = weights;
  return {
    ...parts(Object.keys(LAYER_PARTS) as (keyof typeof LAYER_PARTS)[], weights, of),
    ...lora(weights, of),
    feedForward: feedForward.kind === 'dense' ? dense(feedForward, of) : mixture(feedForward, of),
  };
}

function dense(weights: FeedForwardWeights, of: GradientsOf): FeedForwardGradients {
  const names = Object.keys(FEED_FORWARD_PARTS) as (keyof typeof FEED_FORWARD_PARTS)[];
  return { kind: 'dense', ...parts(names, weights, of), ...lora(weights, of) };
}

function mixture(weights: MixtureWeights, of: GradientsOf): MixtureGradients {
  const names = Object.keys(MIXTURE_PARTS) as (keyof typeof MIXTURE_PARTS)[];
  return {
    kind: 'mixture',
    ...parts([...names, 'gate', 'up', 'down'] as const, weights, of),
    shared: weights.shared && dense(weights.shared, of),
  };
}

function parts<Part extends string>(
  names: readonly Part[],
  weights: Readonly<Record<Part, Tensor | null>>,
  of: GradientsOf,
): Record<Part, Tensor | null> {
  const entries = names.map((name) => [name, weights[name] && of.weight(weights[name])] as const);
  return Object.fromEntries(entries) as Record<Part, Tensor | null>;
}

function lora<Part extends string>(
  weights: { readonly lora?: LoraTerms<Part> },
  of: GradientsOf,
): { readonly lora?: LoraGradients<Part> } {
  if (!weights.lora) return {};
  const entries = Object.entries<readonly LoraTerm[] | undefined>(weights.lora).map(
    ([part, terms]) => [part, terms?.map((term) => of.term(term))] as const,
  );
  return { lora: Object.fromEntries(entries) as LoraGradients<Part> };
}
