import type { StoredShot } from './stored.ts';

/** One unit of a pool that is on the device. */
export interface Resident {
  readonly shot: StoredShot;
  /** Shots in it. */
  readonly count: number;
}

/** What is on the device, by content; the one that was used longest ago goes first. */
export class Residents {
  readonly #mostShots: number;
  readonly #mostBytes: number;
  /** The order is that of use. */
  readonly #held = new Map<string, Resident>();
  shots = 0;
  bytes = 0;

  constructor(mostShots: number, mostBytes: number) {
    this.#mostShots = mostShots;
    this.#mostBytes = mostBytes;
  }

  has(key: string): boolean {
    return this.#held.has(key);
  }

  /** Counts as use. */
  get(key: string): StoredShot | null {
    const found = this.#held.get(key);
    if (!found) return null;
    this.#held.delete(key);
    this.#held.set(key, found);
    return found.shot;
  }

  put(key: string, shot: StoredShot, count: number): void {
    this.drop(key);
    this.#held.set(key, { shot, count });
    this.shots += count;
    this.bytes += shot.bytes;
  }

  drop(key: string): void {
    const found = this.#held.get(key);
    if (!found) return;
    this.#held.delete(key);
    this.shots -= found.count;
    this.bytes -= found.shot.bytes;
    found.shot.dispose();
  }

  /** Frees until the limits hold, but for `kept`. */
  trim(kept: ReadonlySet<string>): void {
    for (const key of [...this.#held.keys()]) {
      if (this.shots <= this.#mostShots && this.bytes <= this.#mostBytes) return;
      if (!kept.has(key)) this.drop(key);
    }
  }

  /** Frees all but these. */
  keepOnly(kept: ReadonlySet<string>): void {
    for (const key of [...this.#held.keys()]) if (!kept.has(key)) this.drop(key);
  }
}
