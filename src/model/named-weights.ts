import type { Tensor } from '../device/device.ts';
import type { DecoderWeights, LayerWeights } from './weights.ts';

export interface NamedTensor {
  readonly name: string;
  readonly tensor: Tensor;
}

/**
 * Every weight of a decoder without the terms of adapters, each once, by its place: `layers.0.q`, `layers.0.feedForward.up`. A walk over all
 * that is there, and no list of names, so that nothing new is left out.
 */
export function namedWeights(
  { embedding, norm, head }: Pick<DecoderWeights, 'embedding' | 'norm' | 'head'>,
  layers: readonly LayerWeights[],
): readonly NamedTensor[] {
  const list: NamedTensor[] = [];
  const seen = new Set<Tensor>();
  const visit = (name: string, value: unknown): void => {
    if (typeof value !== 'object' || value === null) return;
    if (!isTensor(value)) {
      for (const [key, inner] of Object.entries(value)) if (key !== 'lora') visit(`${name}.${key}`, inner);
    } else if (!seen.has(value)) {
      seen.add(value);
      list.push({ name, tensor: value });
    }
  };
  visit('embedding', embedding);
  for (const [i, layer] of layers.entries()) visit(`layers.${i}`, layer);
  visit('norm', norm);
  visit('head', head);
  return list;
}

const isTensor = (value: object): value is Tensor => 'storage' in value && 'layout' in value;
