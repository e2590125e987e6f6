import type { Ranking } from '../ranking.ts';
import { wordScores } from '../scores.ts';

/** By the words that query and shot share. */
export const bm25: Ranking = { needs: null, control: false, scores: wordScores };
