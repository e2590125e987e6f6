/** What the two ways of divide and conquer share. */

/** Cuts of lo .. hi - 1 down to single rows, inner ones first: [lo, middle, hi]. */
export function splits(lo: number, hi: number): [lo: number, middle: number, hi: number][] {
  if (hi - lo < 2) return [];
  const middle = lo + ((hi - lo) >> 1);
  return [...splits(lo, middle), ...splits(middle, hi), [lo, middle, hi]];
}

/** The rows order[lo .. middle - 1] and order[middle .. hi - 1], each ascending in d, as one ascending list. */
export function mergeSorted(d: Float64Array, order: Int32Array, lo: number, middle: number, hi: number): number[] {
  const list: number[] = [];
  let i = lo;
  let j = middle;
  while (i < middle || j < hi) {
    const first = j >= hi || (i < middle && d[order[i]!]! <= d[order[j]!]!);
    list.push(order[first ? i++ : j++]!);
  }
  return list;
}

/** The length of (a, b), without overflow; not Math.hypot, on whose last bits engines differ. */
export function length2(a: number, b: number): number {
  const most = Math.max(Math.abs(a), Math.abs(b));
  if (most === 0) return 0;
  const x = a / most;
  const y = b / most;
  return most * Math.sqrt(x * x + y * y);
}
