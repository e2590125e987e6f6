/**
 * Long runs of combining marks in their canonical order. Normal forms put marks in order by moving each past those before it, which takes
 * the square of a run's length: minutes for a million. A run that is in order already takes them no time.
 */

/** Shorter runs are left to the host. */
const SHORT = 128;
const RUN = new RegExp(`\\p{M}{${SHORT},}`, 'gu');
/** With what becomes a mark in compatibility forms only. */
const COMPATIBLE_RUN = new RegExp(`[\\p{M}\\uff9e\\uff9f]{${SHORT},}`, 'gu');

/** Canonically equivalent to the text; with `compatible`, it has the same compatibility forms. */
export function orderMarks(text: string, compatible: boolean): string {
  return text.replace(compatible ? COMPATIBLE_RUN : RUN, (run) => ordered(run, compatible ? 'NFKD' : 'NFD'));
}

function ordered(run: string, form: 'NFD' | 'NFKD'): string {
  const decomposed = new Map<string, readonly string[]>();
  for (const mark of run) if (!decomposed.has(mark)) decomposed.set(mark, Array.from(mark.normalize(form)));
  const ranks = ranksOf(new Set([...decomposed.values()].flat()));
  const parts: string[] = [];
  let waiting: string[] = []; // marks that may change places with each other
  const flush = (): void => {
    // equal ranks stay in order: the sort is stable
    for (const mark of waiting.sort((a, b) => ranks.get(a)! - ranks.get(b)!)) parts.push(mark);
    waiting = [];
  };
  for (const mark of run) {
    for (const part of decomposed.get(mark)!) {
      if (ranks.has(part)) waiting.push(part);
      else {
        flush();
        parts.push(part);
      }
    }
  }
  flush();
  return parts.join('');
}

/** By mark, a number that is equal for equal combining classes and grows with them; without those that never change places. */
function ranksOf(marks: ReadonlySet<string>): ReadonlyMap<string, number> {
  // U+0334 has the lowest class, U+0345 the highest
  const moves = [...marks].filter((mark) => changes(mark, '\u0334') || changes('\u0345', mark));
  moves.sort((a, b) => (changes(a, b) ? 1 : changes(b, a) ? -1 : 0));
  const ranks = new Map<string, number>();
  let rank = 0;
  moves.forEach((mark, i) => {
    if (i > 0 && changes(mark, moves[i - 1]!)) rank++;
    ranks.set(mark, rank);
  });
  return ranks;
}

/** Whether the canonical order of two marks is the other way round. */
function changes(first: string, second: string): boolean {
  return (first + second).normalize('NFD') !== first + second;
}
