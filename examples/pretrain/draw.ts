import { uniform } from '../../src/random.ts';

/** Draws that one text may take. */
const MOST = 4096;

/** Random choices of one text: a pure function of seed, stream, text and the how-manyth choice. */
export class Draw {
  readonly #seed: number;
  readonly #stream: number;
  readonly #first: number;
  #taken = 0;

  /** @param index of the text, below 2^41 */
  constructor(seed: number, stream: number, index: number) {
    this.#seed = seed;
    this.#stream = stream;
    this.#first = index * MOST;
  }

  /** In [0, 1). */
  next(): number {
    if (this.#taken === MOST) throw new RangeError('A text has taken all its draws.');
    return uniform(this.#seed, this.#first + this.#taken++, this.#stream);
  }

  /** An integer from `least` to `most`. */
  int(least: number, most: number): number {
    return least + Math.floor(this.next() * (most - least + 1));
  }

  chance(share: number): boolean {
    return this.next() < share;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.int(0, list.length - 1)]!;
  }

  /** So many of a list, none twice. */
  some<T>(list: readonly T[], count: number): T[] {
    const rest = list.slice();
    return Array.from({ length: Math.min(count, list.length) }, () => rest.splice(this.int(0, rest.length - 1), 1)[0]!);
  }

  /** One of several, by weight. */
  weighted<T>(list: readonly (readonly [weight: number, value: T])[]): T {
    let left = this.next() * list.reduce((sum, [weight]) => sum + weight, 0);
    for (const [weight, value] of list) if ((left -= weight) < 0) return value;
    return list.at(-1)![1];
  }
}
