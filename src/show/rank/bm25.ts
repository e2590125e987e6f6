import { EspalierError } from '../../errors.ts';
import { checked, readable } from '../../options/check.ts';
import { defaulting, like, listOf, real, type Schema } from '../../options/rules.ts';
import { checkedText } from '../../options/texts.ts';
import type { Ranked } from '../types.ts';

export interface Bm25Options {
  /** How soon further occurrences of a term stop counting. Default 1.2. */
  readonly k1?: number;
  /** How much long texts are held back, 0 to 1. Default 0.75. */
  readonly b?: number;
}

export const bm25Options = {
  k1: defaulting(real(0), 1.2),
  b: defaulting(real(0, 1), 0.75),
} as const satisfies Schema<Bm25Options>;

/**
 * An index of texts that ranks them by the words they share with a query: Okapi BM25 in the form of Lucene,
 *
 *     score(q, d) = Σ_{t in q} ln(1 + (N - n_t + 0.5) / (n_t + 0.5)) · f / (f + k1 · (1 - b + b · |d| / mean |d|))
 *
 * with f occurrences of t in d, and n_t of N texts that hold t. The logarithm is never negative, so a word that is everywhere counts
 * nothing instead of against a text. A word that the query repeats counts as often. (Robertson and Zaragoza 2009; Kamphuis et al. 2020.)
 */
export class Bm25 {
  readonly #k1: number;
  readonly #b: number;
  /** Term to text to occurrences. */
  readonly #postings = new Map<string, Map<string, number>>();
  /** Text to its terms, each once, and its length in words. */
  readonly #texts = new Map<string, { readonly terms: readonly string[]; readonly length: number }>();
  #total = 0;

  /** @throws E_ARGUMENT */
  constructor(options: Bm25Options = {}) {
    const { k1 = 1.2, b = 0.75 } = checked<Bm25Options>(bm25Options, options, 'Bm25');
    this.#k1 = k1;
    this.#b = b;
  }

  /** Texts in the index. */
  get size(): number {
    return this.#texts.size;
  }

  /** Adds a text, in place of the one with the same id if there is one. */
  add(id: string, text: string): void {
    checkedText(id, 'The id');
    checkedText(text, 'The text');
    this.remove(id);
    const counts = new Map<string, number>();
    const words = wordsOf(text);
    for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1);
    for (const [word, count] of counts) {
      const posting = this.#postings.get(word);
      if (posting) posting.set(id, count);
      else this.#postings.set(word, new Map([[id, count]]));
    }
    this.#texts.set(id, { terms: [...counts.keys()], length: words.length });
    this.#total += words.length;
  }

  /** Whether it was there. */
  remove(id: string): boolean {
    const text = this.#texts.get(id);
    if (!text) return false;
    for (const term of text.terms) {
      const posting = this.#postings.get(term)!;
      posting.delete(id);
      if (posting.size === 0) this.#postings.delete(term);
    }
    this.#texts.delete(id);
    this.#total -= text.length;
    return true;
  }

  /** All texts, the best first; equal ones in the order of their ids (by code units). A text that shares no word has score 0. */
  rank(query: string): Ranked[] {
    checkedText(query, 'The query');
    const scores = new Map<string, number>();
    for (const id of this.#texts.keys()) scores.set(id, 0);
    const count = this.size;
    const mean = this.#total / count;
    for (const word of wordsOf(query)) {
      const posting = this.#postings.get(word);
      if (!posting) continue;
      const weight = Math.log1p((count - posting.size + 0.5) / (posting.size + 0.5));
      for (const [id, f] of posting) {
        const { length } = this.#texts.get(id)!;
        const share = f / (f + this.#k1 * (1 - this.#b + (this.#b * length) / mean));
        scores.set(id, scores.get(id)! + weight * share);
      }
    }
    return byScore(scores);
  }
}

/** Ids with any scores, such as a user's own, the best first; equal ones in the order of their ids (by code units). */
export function byScore(scores: Iterable<readonly [id: string, score: number]>): Ranked[] {
  return Array.from(scores, ([id, score]) => ({ id, score })).sort(
    (a, b) => b.score - a.score || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0),
  );
}

/** Words of a text: runs of letters, marks and digits, in compatible composed form and lower case. */
export function wordsOf(text: string): string[] {
  return (
    text
      .normalize('NFKC')
      .toLowerCase()
      .match(/[\p{L}\p{M}\p{N}]+/gu) ?? []
  );
}

export interface Neighbour {
  readonly label: string;
  /** Not negative. */
  readonly score: number;
}

const neighbour = like<Neighbour>(
  'an object with a label and a score',
  (value) => 'label' in value && typeof value.label === 'string' && 'score' in value && Number.isFinite(value.score),
);

/**
 * What the neighbours say without any model: each votes for its label with its score. Between equal labels, and where no score is
 * above 0, the label with most votes wins, then the one whose first neighbour stands earlier.
 *
 * @param neighbours the best first
 * @returns labels and their share of the votes, the winner first
 * @throws E_ARGUMENT where there is no neighbour
 */
export function vote(neighbours: readonly Neighbour[]): { readonly label: string; readonly share: number }[] {
  readable('neighbours', () => listOf(neighbour).check(neighbours, 'neighbours'));
  if (neighbours.length === 0) {
    throw new EspalierError('E_ARGUMENT', 'There is no neighbour to vote.', 'Let one or more examples vote.');
  }
  const tally = new Map<string, { score: number; votes: number; first: number }>();
  for (const [i, { label, score }] of neighbours.entries()) {
    const entry = tally.get(label) ?? { score: 0, votes: 0, first: i };
    tally.set(label, { ...entry, score: entry.score + score, votes: entry.votes + 1 });
  }
  const total = neighbours.reduce((sum, { score }) => sum + score, 0);
  return [...tally]
    .sort(([, a], [, b]) => b.score - a.score || b.votes - a.votes || a.first - b.first)
    .map(([label, { score, votes }]) => ({ label, share: total > 0 ? score / total : votes / neighbours.length }));
}
