import { EspalierError } from '../../errors.ts';
import { uniform } from '../../random.ts';
import type { EncodedQuery, Ranked, RankMethod, Shot } from '../types.ts';
import { type Bm25, byScore } from './bm25.ts';
import type { CentredKeys } from './centred-keys.ts';
import { NEEDS } from './options.ts';

/** What ranking knows of a shot. */
export interface Rankable {
  readonly shot: Shot;
  readonly tokens: number;
  /** Mean key by layer and KV head; null while the shot was never encoded. */
  readonly pooled: Float32Array | null;
}

/** What ranking by keys and words has of a pool. */
export interface RankContext {
  readonly layers: number;
  readonly words: () => Bm25;
  /** Of the shots' keys. */
  readonly centred: (keys: readonly (Float32Array | null)[]) => CentredKeys;
}

/** Whether a method needs the query's vector. */
export function needsVector(method: RankMethod): boolean {
  return typeof method === 'string' && NEEDS[method] !== null;
}

/** Whether a method needs what queries have in common, too. */
export function needsCentre(method: RankMethod): boolean {
  return typeof method === 'string' && NEEDS[method] === 'centre';
}

/** What of a shot is compared by words. */
export function wordsFor(shot: Shot): string {
  return shot.input ?? shot.text;
}

/**
 * Scores of all shots, the best first, equal ones by id. By keys, shots that were never encoded come last, with -Infinity.
 * @throws E_ARGUMENT for a query without a vector where one is needed, and scores that are not one number a shot
 */
export function rankShots(
  query: EncodedQuery,
  shots: readonly Rankable[],
  method: RankMethod,
  context: RankContext,
): Ranked[] {
  if (shots.length === 0) return [];
  if (method === 'bm25') return context.words().rank(query.text);
  const scores = method === 'hybrid' ? hybrid(query, shots, context) : scoresOf(query, shots, method, context);
  if (
    scores.length !== shots.length ||
    !Array.from(scores).every((score) => typeof score === 'number' && !Number.isNaN(score))
  ) {
    throw new EspalierError(
      'E_ARGUMENT',
      `The ranking gave ${scores.length} scores for ${shots.length} shots, or one that is not a number.`,
      'Give one number for each shot, in their order.',
    );
  }
  return byScore(shots.map(({ shot }, i) => [shot.id, scores[i]!] as const));
}

function scoresOf(
  query: EncodedQuery,
  shots: readonly Rankable[],
  method: Exclude<RankMethod, 'bm25' | 'hybrid'>,
  context: RankContext,
): ArrayLike<number> {
  if (typeof method === 'function')
    return method(
      query,
      shots.map(({ shot }) => shot),
    );
  if (typeof method === 'object') return shots.map((_, i) => uniform(method.random, i));
  // each row of the softmax over a shot's own tokens sums to 1, so that its mean is 1 / tokens
  if (method === 'printed') return shots.map(({ tokens }) => 1 / tokens);
  if (method === 'keys-centred') return centredCosines(query, shots, context);
  const { layers } = context;
  const vector = vectorOf(query.vector);
  const width = vector.length / layers;
  const byLayer = shots.map(({ pooled }) => pooled && productsByLayer(vector, pooled, layers, width));
  if (method === 'keys-z') standardise(byLayer, layers);
  else if (method !== 'keys') throw method satisfies never;
  return byLayer.map(meanOf);
}

function vectorOf(vector: Float32Array | null): Float32Array {
  if (vector) return vector;
  throw new EspalierError(
    'E_ARGUMENT',
    'The query was encoded without its vector, or without the centre that keys-centred and hybrid need.',
    'Encode it again with both, or rank by bm25.',
  );
}

function centredCosines(query: EncodedQuery, shots: readonly Rankable[], { centred }: RankContext): number[] {
  const centre = vectorOf(query.centre);
  const vector = vectorOf(query.vector).map((x, i) => x - centre[i]!);
  return centred(shots.map(({ pooled }) => pooled)).cosines(vector);
}

/** BM25 and centred cosines, each standardised over the shots, in equal parts. */
function hybrid(query: EncodedQuery, shots: readonly Rankable[], context: RankContext): number[] {
  const words = new Map(
    context
      .words()
      .rank(query.text)
      .map(({ id, score }) => [id, score]),
  );
  const lists = [shots.map(({ shot }) => words.get(shot.id) ?? 0), centredCosines(query, shots, context)].map(
    (list) => {
      const columns = list.map((score) => (Number.isFinite(score) ? Float64Array.of(score) : null));
      standardise(columns, 1);
      return columns.map(meanOf);
    },
  );
  return shots.map((_, i) => lists[0]![i]! + lists[1]![i]!);
}

/** Over layers; of a shot that was never encoded -Infinity. */
function meanOf(list: Float64Array | null): number {
  return list ? list.reduce((sum, x) => sum + x, 0) / list.length : Number.NEGATIVE_INFINITY;
}

/**
 * Mean of products is product of means, so the mean of q_t · k_u over tokens t of the query and u of the shot, and over heads, needs one
 * pooled key a layer and KV head (D4, R2). Constant factors are left out.
 */
function productsByLayer(query: Float32Array, keys: Float32Array, layers: number, width: number): Float64Array {
  const list = new Float64Array(layers);
  for (let layer = 0; layer < layers; layer++) {
    let sum = 0;
    for (let i = layer * width; i < (layer + 1) * width; i++) sum += query[i]! * keys[i]!;
    list[layer] = sum;
  }
  return list;
}

/** Each layer to mean 0 and standard deviation 1 over the shots, so that layers of large norm do not decide alone (R2z). */
function standardise(lists: readonly (Float64Array | null)[], layers: number): void {
  const known = lists.filter((list) => list !== null);
  for (let layer = 0; layer < layers; layer++) {
    const mean = known.reduce((sum, list) => sum + list[layer]!, 0) / known.length;
    const variance = known.reduce((sum, list) => sum + (list[layer]! - mean) ** 2, 0) / known.length;
    const by = variance > 0 ? 1 / Math.sqrt(variance) : 0;
    for (const list of known) list[layer] = (list[layer]! - mean) * by;
  }
}
