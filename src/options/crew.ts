/** Options of a crew. */
import type { CrewOptions, MapOptions } from '../engine/crew.ts';
import { MOST_LANES } from './open.ts';
import { callback, defaulting, either, oneOf, place, type Schema, signal, truth, whole } from './rules.ts';

export const crewOptions = {
  workers: defaulting(either(whole(1, MOST_LANES), oneOf('auto')), 'auto'),
  relaxed: truth,
  wasmLocation: place,
  workerLocation: place,
} as const satisfies Schema<CrewOptions>;

export const mapOptions = {
  signal,
  transfer: defaulting(truth, false),
  onProgress: callback,
} as const satisfies Schema<MapOptions>;
