/** Texts behind one another that begin with the same tokens. */
export interface TextRun {
  readonly texts: readonly (readonly number[])[];
  /** Tokens that all begin with, and that are computed once; 0 of a text by itself. */
  readonly prefix: number;
}

/** Fewer are not worth a cache of their own. */
const LEAST = 8;

/**
 * The run that begins with a text: others join as long as more tokens are saved, (texts - 1) · prefix. Behind the prefix each text has two tokens
 * or more: one alone would get other bits.
 * @param room most tokens behind the prefix, of all texts together; 0: nothing is shared
 */
export function runOf(texts: readonly (readonly number[])[], first: number, room: number): TextRun {
  const own = texts[first]!;
  let [prefix, count, tokens] = [own.length - 2, 1, own.length];
  for (let next = first + 1; next < texts.length; next++) {
    const ids = texts[next]!;
    const joint = Math.min(prefix, common(own, ids), ids.length - 2);
    const total = tokens + ids.length;
    const isMore = joint >= LEAST && count * joint > (count - 1) * prefix;
    if (!isMore || total - (count + 1) * joint > room) break;
    [prefix, count, tokens] = [joint, count + 1, total];
  }
  return { texts: texts.slice(first, first + count), prefix: count === 1 ? 0 : prefix };
}

function common(a: readonly number[], b: readonly number[]): number {
  let length = 0;
  while (length < a.length && a[length] === b[length]) length++;
  return length;
}
