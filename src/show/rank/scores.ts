/** What rankings share: numbers by shot and layer. */
import { EspalierError } from '../../errors.ts';
import type { EncodedQuery } from '../types.ts';
import type { Rankable, RankContext } from './ranking.ts';

/** @throws E_ARGUMENT where the query was encoded without it */
export function vectorOf(vector: Float32Array | null): Float32Array {
  if (vector) return vector;
  throw new EspalierError(
    'E_ARGUMENT',
    'The query was encoded without its vector, or without the centre that keys-centred and hybrid need.',
    'Encode it again with both, or rank by bm25.',
  );
}

/** BM25 of each shot; 0 where it shares no word with the query. */
export function wordScores(query: EncodedQuery, shots: readonly Rankable[], { words }: RankContext): number[] {
  const scores = new Map(
    words()
      .rank(query.text)
      .map(({ id, score }) => [id, score]),
  );
  return shots.map(({ shot }) => scores.get(shot.id) ?? 0);
}

/** See `CentredKeys.cosines`. */
export function centredCosines(query: EncodedQuery, shots: readonly Rankable[], { centred }: RankContext): number[] {
  const centre = vectorOf(query.centre);
  const vector = vectorOf(query.vector).map((x, i) => x - centre[i]!);
  return centred(shots.map(({ pooled }) => pooled)).cosines(vector);
}

/**
 * Mean of products is product of means, so the mean of q_t · k_u over tokens t of the query and u of the shot, and over heads, needs one
 * pooled key a layer and KV head (D4, R2). Constant factors are left out. Null for shots that were never encoded.
 */
export function productsByLayer(
  query: EncodedQuery,
  shots: readonly Rankable[],
  { layers }: RankContext,
): (Float64Array | null)[] {
  const vector = vectorOf(query.vector);
  const width = vector.length / layers;
  return shots.map(({ pooled: keys }) => {
    if (keys === null) return null;
    const list = new Float64Array(layers);
    for (let layer = 0; layer < layers; layer++) {
      let sum = 0;
      for (let i = layer * width; i < (layer + 1) * width; i++) sum += vector[i]! * keys[i]!;
      list[layer] = sum;
    }
    return list;
  });
}

/** Each layer to mean 0 and standard deviation 1 over the shots. */
export function standardise(lists: readonly (Float64Array | null)[], layers: number): void {
  const known = lists.filter((list) => list !== null);
  for (let layer = 0; layer < layers; layer++) {
    const mean = known.reduce((sum, list) => sum + list[layer]!, 0) / known.length;
    const variance = known.reduce((sum, list) => sum + (list[layer]! - mean) ** 2, 0) / known.length;
    const by = variance > 0 ? 1 / Math.sqrt(variance) : 0;
    for (const list of known) list[layer] = (list[layer]! - mean) * by;
  }
}

/** Over layers; of a shot that was never encoded -Infinity. */
export function meanOf(list: Float64Array | null): number {
  return list ? list.reduce((sum, x) => sum + x, 0) / list.length : Number.NEGATIVE_INFINITY;
}
