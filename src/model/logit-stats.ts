import { type Device, STAT_NUMBERS, STAT_PLACES, type Tensor } from '../device/device.ts';

/** Logits that exist at once, in elements, where many rows of them are computed. */
export const MOST_LOGITS = 1 << 22;
/** The same where a device computes while the program goes on: a GPU is not kept busy by fewer. */
export const MOST_LOGITS_AHEAD = 1 << 26;

/** Scratch for `logitStats` of some rows. */
export interface StatsBuffers {
  readonly numbers: Tensor; // [rows, STAT_NUMBERS] f32
  readonly places: Tensor; // [rows, STAT_PLACES] i32
}

export function statsBuffers(device: Device, rows: number): StatsBuffers {
  return { numbers: device.scratch('f32', [rows, STAT_NUMBERS]), places: device.scratch('i32', [rows, STAT_PLACES]) };
}
