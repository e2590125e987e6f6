/** Milliseconds between two beats: often enough for whoever waits, too seldom to cost anything. */
const INTERVAL = 250;

let send: (() => void) | null = null;
let sent = Number.NEGATIVE_INFINITY;

/** In a worker: how its caller is told that a computation goes on, from the middle of it. */
export function onHeartbeat(callback: () => void): void {
  send = callback;
}

/** What is computed next makes itself known again at once: something else was said meanwhile, and who heard it counts no beat before. */
export function beatAgain(): void {
  sent = Number.NEGATIVE_INFINITY;
}

/**
 * Called before each piece of computation whose length is known to be bounded (a kernel). A worker that hears nothing because it
 * computes is told from one that is stuck by this.
 */
export function heartbeat(): void {
  if (send === null) return;
  const now = performance.now();
  if (now - sent < INTERVAL) return;
  sent = now;
  send();
}
