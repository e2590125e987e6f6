import type { Ranking } from '../ranking.ts';
import { centredCosines } from '../scores.ts';

/**
 * Mean over layers of the cosine of the query's vector less the pool's centre and the shot's less the pool's mean: what all have in common
 * points to the same shots whatever is asked, and outweighs the rest.
 */
export const keysCentred: Ranking = { needs: 'centre', control: false, scores: centredCosines };
