import type { Ranking } from '../ranking.ts';
import { meanOf, productsByLayer } from '../scores.ts';

/** Mean product of the query's and a shot's vectors before RoPE, over layers and heads (R2). */
export const keys: Ranking = {
  needs: 'vector',
  control: false,
  scores: (query, shots, context) => productsByLayer(query, shots, context).map(meanOf),
};
