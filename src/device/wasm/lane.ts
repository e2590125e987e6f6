import {
  controlWords,
  DONE,
  finish,
  HELPED,
  type LaneSeat,
  LOST,
  offered,
  PARKED,
  RUNNING,
  STATE,
  slotOf,
  spin,
  TICKET,
} from './lanes.ts';

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
  const numbers = new Float64Array(seat.control);
  const values: number[] = [];
  const work = (part: number) => {
    const slot = slotOf(part);
    let at = (slot >> 1) + 1;
    for (let calls = words[slot]!; calls > 0; calls--) {
      const kernel = kernels[numbers[at++]!] as (...values: number[]) => void;
      values.length = numbers[at++]!;
      for (let i = 0; i < values.length; i++) values[i] = numbers[at++]!;
      kernel(...values);
    }
  };
  ready();
  while (Atomics.load(words, STATE) === RUNNING) {
    const ticket = Atomics.load(words, TICKET);
    const part = offered(ticket);
    if (part >= 0) {
      // the ticket names the command, so a part that was taken stays in its slot until it is finished
      if (Atomics.compareExchange(words, TICKET, ticket, ticket + 1) !== ticket) continue;
      try {
        work(part);
      } catch (error) {
        Atomics.store(words, STATE, LOST);
        Atomics.notify(words, DONE);
        throw error;
      }
      Atomics.add(words, HELPED, 1);
      finish(words, ticket);
    } else if (!spin(words, TICKET, ticket)) {
      Atomics.add(words, PARKED, 1);
      // the state may have changed, and its notification passed, since it was looked at
      if (Atomics.load(words, STATE) === RUNNING) Atomics.wait(words, TICKET, ticket, 1000);
      Atomics.sub(words, PARKED, 1);
    }
  }
}
