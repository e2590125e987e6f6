import { uniform } from '../random.ts';

/** Tells these draws apart from others with the same seed. */
const STREAM = 0x747261;
/** Draws of an epoch: more examples than an array can hold. */
const EPOCH = 2 ** 32;

/**
 * The order of `count` examples in an epoch: a permutation by Fisher and Yates, a pure function of seed and epoch.
 * @param count below 2^32
 * @param epoch from 0 on, below 2^21
 */
export function shuffled(count: number, seed: number, epoch: number): Uint32Array {
  const order = Uint32Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(uniform(seed, epoch * EPOCH + i, STREAM) * (i + 1));
    const other = order[j]!;
    order[j] = order[i]!;
    order[i] = other;
  }
  return order;
}

/** Places of the examples of a step among those of all epochs behind one another: `batch` from position step · batch on. */
export class Order {
  readonly #count: number;
  readonly #seed: number | null;
  #epoch = -1;
  #order: Uint32Array = new Uint32Array(0);

  /** @param seed null: every epoch in the order of the data */
  constructor(count: number, seed: number | null) {
    this.#count = count;
    this.#seed = seed;
  }

  /** Which examples stand at positions first .. first + length - 1. */
  at(first: number, length: number): number[] {
    return Array.from({ length }, (_, i) => {
      const position = first + i;
      const place = position % this.#count;
      if (this.#seed === null) return place;
      const epoch = Math.floor(position / this.#count);
      if (epoch !== this.#epoch) {
        this.#order = shuffled(this.#count, this.#seed, epoch);
        this.#epoch = epoch;
      }
      return this.#order[place]!;
    });
  }
}
