/** Milliseconds between two messages of one callback: as often as a display shows something new. */
const INTERVAL = 30;

/**
 * Calls a caller's callback from here, by messages. Counts of steps come at every step, and are sent not more often than is of use,
 * the last always. Anything else is sent at once.
 */
export class Relay {
  readonly #send: (args: readonly unknown[]) => void;
  #sent = Number.NEGATIVE_INFINITY;
  #held: readonly unknown[] | null = null;

  constructor(send: (args: readonly unknown[]) => void) {
    this.#send = send;
  }

  readonly call = (...args: unknown[]): void => {
    const now = performance.now();
    if (typeof args[0] !== 'number') {
      this.flush();
      this.#send(args);
    } else if (now - this.#sent < INTERVAL) this.#held = args;
    else {
      this.#sent = now;
      this.#held = null;
      this.#send(args);
    }
  };

  /** Sends what was held back. */
  flush(): void {
    if (this.#held) this.#send(this.#held);
    this.#held = null;
  }
}
