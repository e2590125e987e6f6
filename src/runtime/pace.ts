/** Longest stretch of work, in milliseconds, before the host's event loop gets a turn (timers, aborts, rendering). */
const STRETCH = 8;

const nextTurn: () => Promise<void> =
  typeof setImmediate === 'function'
    ? () => new Promise((resolve) => setImmediate(resolve))
    : () =>
        new Promise((resolve) => {
          const { port1, port2 } = new MessageChannel();
          port1.onmessage = () => {
            port1.close();
            resolve();
          };
          port2.postMessage(null);
        });

/** Lets the event loop turn when the last turn is long enough ago; otherwise costs a look at the clock. */
export class Pace {
  #last = performance.now();

  async breathe(): Promise<void> {
    if (performance.now() - this.#last < STRETCH) return;
    await nextTurn();
    this.#last = performance.now();
  }
}
