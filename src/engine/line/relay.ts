/** Milliseconds between two messages of one callback: as often as a display shows something new. */
const INTERVAL = 30;

/**
 * Calls a caller's callback from here, by messages. Counts of steps come at every step, and are sent not more often than is of use,
 * the last of each stage always. Anything else is sent at once, and may be waited for: until the callback is done.
 */
export class Relay {
  readonly #send: (args: readonly unknown[]) => Promise<void>;
  #sent = Number.NEGATIVE_INFINITY;
  #held: readonly unknown[] | null = null;
  #stage: string | null = null;

  constructor(send: (args: readonly unknown[]) => Promise<void>) {
    this.#send = send;
  }

  readonly call = (...args: unknown[]): Promise<void> => {
    const now = performance.now();
    const stage = stageOf(args[0]);
    const isNext = stage === null || stage !== this.#stage;
    if (!isNext && now - this.#sent < INTERVAL) {
      this.#held = args;
      return Promise.resolve();
    }
    if (isNext) this.flush();
    this.#stage = stage;
    this.#sent = now;
    this.#held = null;
    return this.#send(args);
  };

  /** Sends what was held back. */
  flush(): void {
    if (this.#held) void this.#send(this.#held);
    this.#held = null;
  }
}

/** What steps a call counts: plain numbers have no name. Null: it counts none. */
function stageOf(first: unknown): string | null {
  if (typeof first === 'number') return '';
  const { stage } = (first ?? {}) as { stage?: unknown };
  return typeof stage === 'string' ? stage : null;
}
