/** Draws of one seed, the same in each run. */
export class Draws {
  #next: () => number;

  constructor(seed: number) {
    this.#next = mulberry32(Math.imul(seed, 0x9e3779b1));
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

function mulberry32(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
