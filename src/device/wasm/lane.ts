import { controlWords, type LaneSeat, LOST, PARKED, PENDING, RUNNING, SEQUENCE, STATE, slotOf, spin } from './lanes.ts';

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
  const words = controlWords(seat.memory, seat.control);
  const numbers = new Float64Array(seat.memory.buffer, seat.control);
  const slot = slotOf(seat.lane);
  const values: number[] = [];
  // commands are counted from 0, and none has been given before every lane is ready
  let seen = 0;
  ready();
  for (;;) {
    while (Atomics.load(words, SEQUENCE) === seen) {
      if (Atomics.load(words, STATE) !== RUNNING) return;
      if (spin(words, SEQUENCE, seen)) break;
      Atomics.add(words, PARKED, 1);
      // the state may have changed, and its notification passed, since it was looked at
      if (Atomics.load(words, STATE) === RUNNING) Atomics.wait(words, SEQUENCE, seen, 1000);
      Atomics.sub(words, PARKED, 1);
    }
    seen = Atomics.load(words, SEQUENCE);
    try {
      let at = (slot >> 1) + 1;
      for (let calls = words[slot]!; calls > 0; calls--) {
        const kernel = kernels[numbers[at++]!] as (...values: number[]) => void;
        values.length = numbers[at++]!;
        for (let i = 0; i < values.length; i++) values[i] = numbers[at++]!;
        kernel(...values);
      }
    } catch (error) {
      Atomics.store(words, STATE, LOST);
      Atomics.notify(words, PENDING);
      throw error;
    }
    if (Atomics.sub(words, PENDING, 1) === 1) Atomics.notify(words, PENDING);
  }
}
