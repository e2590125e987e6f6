import { generator } from '../checkpoint/attack.ts';

/** Draws of one seed, the same in each run. */
export class Draws {
  #next: () => number;

  constructor(seed: number) {
    this.#next = generator(Math.imul(seed, 0x9e3779b1));
  }

  /** 0 to end - 1. */
  below(end: number): number {
    return Math.floor(this.#next() * end);
  }

  chance(p: number): boolean {
    return this.#next() < p;
  }

  one<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.below(256));
  }
}
