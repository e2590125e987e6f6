import * as assert from 'uvu/assert';

/** Milliseconds: a second, and as much again for what is asked of another thread. */
const SOON = 2000;
/** Milliseconds between looks at how late this thread's timers are. */
const LOOK = 20;
/** Most milliseconds that are put down to the machine: more may be a call that blocks this thread. */
const MOST_LAG = 2000;

/**
 * Does `work`, and fails unless it ended at once, as people see it, on however busy a machine.
 * @param most milliseconds; those for which the machine kept this thread waiting are not counted
 */
export async function soon(work: () => Promise<unknown>, most = SOON): Promise<void> {
  const before = performance.now();
  let lag = 0;
  let last = before;
  const look = setInterval(() => {
    const now = performance.now();
    lag += Math.max(0, now - last - LOOK);
    last = now;
  }, LOOK);
  try {
    await work();
  } finally {
    clearInterval(look);
  }
  const took = performance.now() - before;
  assert.ok(took - Math.min(lag, MOST_LAG) < most, `${took} ms, of which the machine took ${lag}`);
}
