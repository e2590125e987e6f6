import type { WorkEstimate } from '../types.ts';

/** Milliseconds between two calls of a callback of progress. */
const PACE = 200;

/** Long work that is told of: how much before it starts, how long as soon as that is known, and where it is several times a second. */
export class Work {
  readonly #total: Omit<WorkEstimate, 'seconds'>;
  readonly #onEstimate: ((estimate: WorkEstimate) => void) | undefined;
  readonly #onTokens: (tokens: number) => void;
  #tokens = 0;
  #told = performance.now();
  /** Time that was spent computing, and tokens that it gave. */
  #spent = 0;
  #computed = 0;
  #isTimed = false;

  /** @param onTokens hears how many tokens are through, those of what is being computed in part */
  constructor(
    total: Omit<WorkEstimate, 'seconds'>,
    onEstimate: ((estimate: WorkEstimate) => void) | undefined,
    onTokens: (tokens: number) => void,
  ) {
    this.#total = total;
    this.#onEstimate = onEstimate;
    this.#onTokens = onTokens;
    if (total.shots > 0) onEstimate?.({ ...total, seconds: null });
  }

  /** Tokens that are through. */
  get tokens(): number {
    return this.#tokens;
  }

  /** So many tokens of what is being computed are through; not yet counted by `done`. */
  within(tokens: number): void {
    const now = performance.now();
    if (now - this.#told < PACE) return;
    this.#told = now;
    this.#onTokens(Math.min(this.#total.tokens, Math.floor(this.#tokens + tokens)));
  }

  /** @param milliseconds that computing them took; null: they were loaded */
  done(tokens: number, milliseconds: number | null): void {
    this.#tokens += tokens;
    if (milliseconds === null) return;
    this.#spent += milliseconds;
    this.#computed += tokens;
    const left = this.#total.tokens - this.#tokens;
    if (this.#isTimed || left <= 0) return;
    this.#isTimed = true;
    this.#onEstimate?.({ ...this.#total, seconds: (left * this.#spent) / this.#computed / 1000 });
  }
}
