import {
  COMMAND,
  controlWords,
  countHelp,
  finish,
  LOST,
  NONE,
  partOf,
  partsIn,
  RUNNING,
  STATE,
  take,
  waitForCommand,
  wakeAll,
} from './control.ts';
import type { LaneSeat } from './lanes.ts';

/**
 * The life of a lane: waits for commands and calls kernels, until it is told to stop. Blocks its thread. `ready` is called when the
 * first command may come.
 * @throws what a kernel throws, after marking the lane as lost
 */
export async function runLane(seat: LaneSeat, ready: () => void): Promise<void> {
  const abort = () => {
    throw new Error('A kernel stopped.');
  };
  const instance = await WebAssembly.instantiate(seat.module, { env: { memory: seat.memory, abort } });
  const kernels = WebAssembly.Module.exports(seat.module).map(({ name }) => instance.exports[name]);
  const words = controlWords(seat.control);
  const work = partsIn(seat.control, kernels, seat.lane);
  ready();
  while (Atomics.load(words, STATE) === RUNNING) {
    // looked at before the ticket: a command that comes behind it changes it
    const seen = Atomics.load(words, COMMAND);
    const ticket = take(words);
    if (ticket === NONE) {
      waitForCommand(words, seen);
      continue;
    }
    try {
      work(partOf(ticket));
    } catch (error) {
      Atomics.store(words, STATE, LOST);
      wakeAll(words);
      throw error;
    }
    countHelp(words, seat.lane);
    finish(words, ticket);
  }
}
