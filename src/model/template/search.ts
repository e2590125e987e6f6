/** Searches in time that grows with the text alone: those of JavaScript take, at worst, the product of both lengths. */

/** Up to this many units of what is wanted, the host's search is quick enough at its worst. */
const SHORT = 32;

/** As `text.indexOf(wanted, from)`. */
export function firstPlace(text: string, wanted: string, from = 0): number {
  if (wanted.length <= SHORT) return text.indexOf(wanted, from);
  return place(text, wanted, Math.max(0, from), text.length, 1);
}

/** As `text.lastIndexOf(wanted, from)`. */
export function lastPlace(text: string, wanted: string, from = Number.POSITIVE_INFINITY): number {
  if (wanted.length <= SHORT) return text.lastIndexOf(wanted, from);
  return place(text, wanted, 0, Math.min(text.length, Math.max(0, from) + wanted.length), -1);
}

/** Knuth, Morris and Pratt: from `start` to `end`, or backwards with `step` -1. Both texts are read in that direction. */
function place(text: string, wanted: string, start: number, end: number, step: 1 | -1): number {
  const { length } = wanted;
  if (end - start < length) return -1;
  const first = step === 1 ? 0 : length - 1;
  const at = step === 1 ? start : end - 1;
  const borders = new Int32Array(length); // of each beginning: the longest other one that it ends in
  for (let i = 1, same = 0; i < length; i++) {
    const unit = wanted.charCodeAt(first + step * i);
    while (same > 0 && unit !== wanted.charCodeAt(first + step * same)) same = borders[same - 1]!;
    if (unit === wanted.charCodeAt(first + step * same)) same++;
    borders[i] = same;
  }
  for (let i = 0, same = 0; i < end - start; i++) {
    const unit = text.charCodeAt(at + step * i);
    while (same > 0 && unit !== wanted.charCodeAt(first + step * same)) same = borders[same - 1]!;
    if (unit === wanted.charCodeAt(first + step * same)) same++;
    if (same === length) return step === 1 ? start + i - length + 1 : end - 1 - i;
  }
  return -1;
}
