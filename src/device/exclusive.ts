import type { Device } from './device.ts';

const tails = new WeakMap<Device, Promise<unknown>>();
/** How many have not begun. */
const waiting = new WeakMap<Device, number>();

/**
 * Runs `work` when all earlier `exclusive` work on the device is done. Scratch memory is one stack a device, so two
 * computations that await between their operations must not interleave.
 */
export function exclusive<T>(device: Device, work: () => Promise<T>): Promise<T> {
  const count = (by: number) => waiting.set(device, waitingFor(device) + by);
  const begin = () => {
    count(-1);
    return work();
  };
  count(1);
  const run = (tails.get(device) ?? Promise.resolve()).then(begin, begin);
  tails.set(
    device,
    run.catch(() => {}),
  );
  return run;
}

/** How much `exclusive` work waits until what runs now is done: who computes what nobody has asked for yet then gives way. */
export function waitingFor(device: Device): number {
  return waiting.get(device) ?? 0;
}
