/** How much of an answer a model would write itself, each token behind the right ones before it. */
import { EspalierError } from '../../errors.ts';
import { readable } from '../../options/check.ts';

/**
 * Exact memorisation: the share of the tokens that are the likeliest at their place. Null where there are none.
 * @param ids of the answer, without an end token
 * @param likeliest at the same places
 * @throws E_ARGUMENT for lists of different lengths
 */
export function exactMemorisation(ids: ArrayLike<number>, likeliest: ArrayLike<number>): number | null {
  const hits = hitsOf(ids, likeliest);
  return hits.length === 0 ? null : hits.filter(Boolean).length / hits.length;
}

/**
 * Extraction strength (Carlini et al. 2021) 1 - k / n: the share of the n tokens that follow by themselves, each the likeliest, once the first k stand
 * there. 0 where the last one does not. Null where there are none.
 * @throws E_ARGUMENT for lists of different lengths
 */
export function extractionStrength(ids: ArrayLike<number>, likeliest: ArrayLike<number>): number | null {
  const hits = hitsOf(ids, likeliest);
  return hits.length === 0 ? null : 1 - (hits.lastIndexOf(false) + 1) / hits.length;
}

function hitsOf(ids: ArrayLike<number>, likeliest: ArrayLike<number>): boolean[] {
  return readable('The tokens', () => {
    const [own, found] = [Array.from(ids), Array.from(likeliest)];
    if (own.length === found.length) return own.map((id, i) => id === found[i]);
    const hint = 'Give the likeliest token at each place.';
    throw new EspalierError('E_ARGUMENT', `There are ${own.length} tokens against ${found.length}.`, hint);
  });
}
