/** Rules that options of every device share. */
import { defaulting, either, oneOf, type Rule, whole } from '../options/rules.ts';
import { MOST_LANES } from '../runtime/host/lane-count.ts';
import type { Precision } from './device.ts';

const MiB = 2 ** 20;

export const lanes: Rule<number | 'auto'> = either(whole(1, MOST_LANES), oneOf('auto'));

export const memoryLimit: Rule<number> = whole(
  MiB,
  2 ** 32,
  'an integer of bytes from 1,048,576 (1 MiB) to 4,294,967,296 (4 GiB)',
);

/** Default of jobs. */
export const MEMORY_LIMIT = 2 ** 32;

export const precision: Rule<Precision> & { readonly default: 'int8' } = defaulting(
  oneOf('int8', 'int16', 'exact'),
  'int8',
);
