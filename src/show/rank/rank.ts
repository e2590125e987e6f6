import { EspalierError } from '../../errors.ts';
import { uniform } from '../../random.ts';
import type { EncodedQuery, Ranked, Shot } from '../types.ts';
import { byScore } from './bm25.ts';
import type { Rankable, RankContext } from './ranking.ts';
import { RANKINGS, type RankMethod } from './rankings.ts';

/** Whether a method needs the query's vector. */
export function needsVector(method: RankMethod): boolean {
  return typeof method === 'string' && RANKINGS[method].needs !== null;
}

/** Whether a method needs what queries have in common, too. */
export function needsCentre(method: RankMethod): boolean {
  return typeof method === 'string' && RANKINGS[method].needs === 'centre';
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
  const scores = scoresOf(query, shots, method, context);
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
  method: RankMethod,
  context: RankContext,
): ArrayLike<number> {
  if (typeof method === 'string') return RANKINGS[method].scores(query, shots, context);
  if (typeof method === 'object') return shots.map((_, i) => uniform(method.random, i));
  return method(
    query,
    shots.map(({ shot }) => shot),
  );
}
