import type { Ranking } from '../ranking.ts';

/**
 * The formula as the paper prints it: each row of the softmax over a shot's own tokens sums to 1, so that its mean is 1 / tokens whatever
 * the query.
 */
export const printed: Ranking = {
  needs: null,
  control: true,
  scores: (_, shots) => shots.map(({ tokens }) => 1 / tokens),
};
