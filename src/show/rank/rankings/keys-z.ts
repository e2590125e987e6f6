import type { Ranking } from '../ranking.ts';
import { meanOf, productsByLayer, standardise } from '../scores.ts';

/** The same as `keys`, each layer standardised over the pool first, so that layers of large norm do not decide alone (R2z). */
export const keysZ: Ranking = {
  needs: 'vector',
  control: false,
  scores: (query, shots, context) => {
    const lists = productsByLayer(query, shots, context);
    standardise(lists, context.layers);
    return lists.map(meanOf);
  },
};
