/** How a kernel finds out which rows belong to which expert: from offsets that only the GPU knows. */

/** Row of all that is the first bound; expert whose matrix is the first bound, and how many are; rows of a matrix. */
export const EXPERT_NUMBERS: readonly string[] = [
  'firstRow: u32',
  'firstExpert: u32',
  'experts: u32',
  'rowsOfExpert: u32',
];

/** `offset(e)`: where expert e begins among the rows that are bound; what is no offset becomes one. @param rows the number that says how many they are */
export function offsetText(rows: string): string {
  return `fn offset(e: u32) -> u32 {
  let last = i32(u.firstRow + u.${rows});
  return u32(clamp(offsets[u.offsetsAt + u.firstExpert + e], i32(u.firstRow), last)) - u.firstRow;
}`;
}

/** `expert`: the last one for which it holds, by halving; `isAt` says of the expert `middle` whether, and holds for none behind one for which it does not. */
export function expertText(isAt: string): string {
  return `var expert = 0u;
  var above = u.experts;
  while (above - expert > 1u) {
    let middle = (expert + above) / 2u;
    if (${isAt}) { expert = middle; } else { above = middle; }
  }`;
}
