import { type Device, STAT_NUMBERS, STAT_PLACES, type Tensor } from '../device/device.ts';

/** Logits that exist at once, in elements, where many rows of them are computed. */
export const MOST_LOGITS = 1 << 22;
/** The same where a device computes while the program goes on: a GPU is not kept busy by fewer. */
export const MOST_LOGITS_AHEAD = 1 << 26;

/** The same where they are only scored, and fit one binding of any GPU. */
const MOST_SCORED_AHEAD = 1 << 24;
/** Rows of logits that are scored together where each pass is waited for. */
const SCORED = 32;

/** Rows of logits that exist at once where text is scored. */
export function scoredRows(device: Device, vocabSize: number): number {
  return device.asynchronous ? Math.max(SCORED, Math.floor(MOST_SCORED_AHEAD / vocabSize)) : SCORED;
}

/** Scratch for `logitStats` of some rows. */
export interface StatsBuffers {
  readonly numbers: Tensor; // [rows, STAT_NUMBERS] f32
  readonly places: Tensor; // [rows, STAT_PLACES] i32
}

export function statsBuffers(device: Device, rows: number): StatsBuffers {
  return { numbers: device.scratch('f32', [rows, STAT_NUMBERS]), places: device.scratch('i32', [rows, STAT_PLACES]) };
}
