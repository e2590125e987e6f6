import type { Ranking } from '../ranking.ts';
import { centredCosines, meanOf, standardise, wordScores } from '../scores.ts';

/** BM25 and centred cosines, each standardised over the pool, in equal parts. */
export const hybrid: Ranking = {
  needs: 'centre',
  control: false,
  scores: (query, shots, context) => {
    const [words, cosines] = [wordScores(query, shots, context), centredCosines(query, shots, context)].map((list) => {
      const columns = list.map((score) => (Number.isFinite(score) ? Float64Array.of(score) : null));
      standardise(columns, 1);
      return columns.map(meanOf);
    });
    return shots.map((_, i) => words![i]! + cosines![i]!);
  },
};
