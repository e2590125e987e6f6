/** Places of values along an axis. */
export interface Scale {
  /** From 0 to 1, for values that it was made of. */
  at(x: number): number;
}

/** Least that a logarithm is taken of. */
const LEAST = 1e-300;
const MOST_TICKS = 6;

/** Powers of ten that hold all values. */
export function decades(values: readonly number[]): Scale & { readonly ticks: readonly number[] } {
  const logs = values.map((x) => Math.log10(Math.max(LEAST, x)));
  const from = Math.floor(Math.min(...logs));
  const to = Math.max(from + 1, Math.ceil(Math.max(...logs)));
  const each = Math.ceil((to - from) / MOST_TICKS);
  const ticks = Array.from({ length: Math.floor((to - from) / each) + 1 }, (_, i) => 10 ** (from + i * each));
  return { at: (x) => (Math.log10(Math.max(LEAST, x)) - from) / (to - from), ticks };
}

/** What holds all values, with some room at the ends. */
export function range(values: readonly number[]): Scale & { readonly from: number; readonly to: number } {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const room = Math.max(0.08 * (most - least), 0.005 * Math.abs(most), 1e-6);
  const [from, to] = [least - room, most + room];
  return { from, to, at: (x) => (x - from) / (to - from) };
}
