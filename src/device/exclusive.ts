import type { Device } from './device.ts';

const tails = new WeakMap<Device, Promise<unknown>>();

/**
 * Runs `work` when all earlier `exclusive` work on the device is done. Scratch memory is one stack a device, so two
 * computations that await between their operations must not interleave.
 */
export function exclusive<T>(device: Device, work: () => Promise<T>): Promise<T> {
  const run = (tails.get(device) ?? Promise.resolve()).then(work, work);
  tails.set(
    device,
    run.catch(() => {}),
  );
  return run;
}
