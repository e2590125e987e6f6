/** How often each n-gram occurs. */
export type Ngrams = ReadonlyMap<string, number>;

/** @param list words, or characters, all of which may be white space or none: n-grams of one length are told apart by what joins them */
export function ngrams(list: readonly string[], n: number): Ngrams {
  const counts = new Map<string, number>();
  for (let i = 0; i + n <= list.length; i++) {
    const ngram = n === 1 ? list[i]! : list.slice(i, i + n).join(' ');
    counts.set(ngram, (counts.get(ngram) ?? 0) + 1);
  }
  return counts;
}
