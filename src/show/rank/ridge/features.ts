import type { ModelConfig } from '../../../checkpoint/types.ts';

/** Layers whose keys are looked at: more say little more. */
const MOST_LAYERS = 10;

/** How much the mean key of a prompt's tokens counts, and the key of its last token. */
const WEIGHTS = [1, 0.5] as const;

/** Vectors of a prompt by layer: the mean over its tokens but the first, which is a sink, and the last token's. */
export const KINDS = WEIGHTS.length;

/** Layers that features are made of, evenly spread. */
export function featureLayers(layers: number): readonly number[] {
  const count = Math.min(MOST_LAYERS, layers);
  return Array.from({ length: count }, (_, i) => Math.floor(((i + 0.5) * layers) / count));
}

/** Numbers of a prompt's features: [feature layers, kinds, nKvHeads · headDim]. */
export function featureCount({ nLayers, nKvHeads, headDim }: ModelConfig): number {
  return featureLayers(nLayers).length * KINDS * nKvHeads * headDim;
}

/** How much each of a prompt's tokens counts to its two vectors. */
export function kindWeights(token: number, tokens: number): readonly [mean: number, last: number] {
  const mean = tokens === 1 ? 1 : token === 0 ? 0 : 1 / (tokens - 1);
  return [mean, token === tokens - 1 ? 1 : 0];
}

/**
 * Features less the centre, every vector of theirs with the length that it counts for: products of two rows are weighted means of cosines.
 * @param width of one vector
 */
export function normalised(features: Float32Array, centre: Float64Array, width: number, to: Float32Array): void {
  const parts = features.length / width;
  const total = (WEIGHTS.reduce((sum, weight) => sum + weight, 0) * parts) / KINDS;
  for (let part = 0; part < parts; part++) {
    const first = part * width;
    let squares = 0;
    for (let i = first; i < first + width; i++) squares += (features[i]! - centre[i]!) ** 2;
    const by = squares > 0 ? Math.sqrt(WEIGHTS[part % KINDS]! / (total * squares)) : 0;
    for (let i = first; i < first + width; i++) to[i] = (features[i]! - centre[i]!) * by;
  }
}

/** Mean of all. */
export function centreOf(list: readonly Float32Array[]): Float64Array {
  const mean = new Float64Array(list[0]?.length ?? 0);
  for (const features of list) for (let i = 0; i < mean.length; i++) mean[i]! += features[i]! / list.length;
  return mean;
}
