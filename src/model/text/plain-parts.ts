import type { Guard, Place } from './added-tokens.ts';

/** The parts of a text in which some tokens, usually the special ones, are letters: stretches of UTF-16 units, in order, that do not touch. */
export class PlainParts {
  static readonly none = new PlainParts([], new Set());
  readonly #stretches: readonly (readonly [number, number])[];

  /** Ids of the tokens that are letters there. */
  readonly guarded: ReadonlySet<number>;

  constructor(stretches: readonly (readonly [number, number])[], guarded: ReadonlySet<number>) {
    this.guarded = guarded;
    this.#stretches = stretches;
  }

  /** Of segments that follow each other. */
  static of(
    segments: readonly { readonly length: number; readonly plain: boolean }[],
    guarded: ReadonlySet<number>,
  ): PlainParts {
    const stretches: [number, number][] = [];
    let at = 0;
    for (const { length, plain } of segments) {
      const last = stretches.at(-1);
      if (plain && length > 0) {
        if (last?.[1] === at) last[1] += length;
        else stretches.push([at, at + length]);
      }
      at += length;
    }
    return stretches.length === 0 ? PlainParts.none : new PlainParts(stretches, guarded);
  }

  place(start: number, end: number): Place {
    const stretch = this.#from(start);
    if (stretch === undefined || stretch[0] >= end) return 'outside';
    return stretch[0] <= start && end <= stretch[1] ? 'inside' : 'across';
  }

  /** For a part of the text that begins at `offset`; null when nothing is plain. */
  guard(offset: number): Guard | null {
    if (this.#stretches.length === 0) return null;
    return { ids: this.guarded, place: (start, end) => this.place(start + offset, end + offset) };
  }

  /** Cuts a part of the text at the borders of plain stretches. */
  split(start: number, end: number): [number, number][] {
    const parts: [number, number][] = [];
    let at = start;
    while (at < end) {
      const stretch = this.#from(at);
      let to = end;
      if (stretch !== undefined) to = Math.min(end, stretch[0] > at ? stretch[0] : stretch[1]);
      parts.push([at, to]);
      at = to;
    }
    return parts;
  }

  /** The first stretch that ends after `at`. */
  #from(at: number): readonly [number, number] | undefined {
    let low = 0;
    let high = this.#stretches.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#stretches[middle]![1] <= at) low = middle + 1;
      else high = middle;
    }
    return this.#stretches[low];
  }
}
