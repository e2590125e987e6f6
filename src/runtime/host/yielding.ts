/** Longest stretch of work, in milliseconds, before the host's event loop gets a turn (timers, aborts, rendering). */
const STRETCH = 8;

/** Lets all that is ready run: a turn of the event loop. */
export const nextTurn: () => Promise<void> =
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

/**
 * A worker of Deno may go on from immediate to immediate without looking for messages, and so never hear of an abort; a timer,
 * which takes a millisecond or two, makes it look. Milliseconds between two of them; 0: not needed.
 */
const TIMER_EVERY = 'Deno' in globalThis ? 40 : 0;
let lastTimer = 0;

async function turn(): Promise<void> {
  if (TIMER_EVERY === 0 || performance.now() - lastTimer < TIMER_EVERY) return nextTurn();
  await new Promise((resolve) => setTimeout(resolve, 0));
  lastTimer = performance.now();
}

/** Lets the event loop turn when the last turn is long enough ago; otherwise costs a look at the clock. */
export class Pace {
  #last = performance.now();

  async breathe(): Promise<void> {
    if (performance.now() - this.#last < STRETCH) return;
    await turn();
    this.#last = performance.now();
  }
}
