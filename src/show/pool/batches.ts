import { MOST_ROWS } from './encode.ts';

/** A list in batches of at most 512 rows, in its order; what is longer stands by itself. */
export function inBatches<T>(list: readonly T[], rowsOf: (one: T) => number): T[][] {
  const made: T[][] = [];
  let room = 0;
  for (const one of list) {
    const rows = rowsOf(one);
    if (rows > room || made.length === 0) {
      made.push([]);
      room = MOST_ROWS;
    }
    made.at(-1)!.push(one);
    room -= rows;
  }
  return made;
}
