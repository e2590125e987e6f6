/** What writer-child.ts and its test both write. */
import type { WriteOptions } from '../../src/checkpoint/write/write-checkpoint.ts';

interface Written {
  readonly seed: number;
  readonly groups: number;
  readonly options: WriteOptions;
}

/** In some ten shards. */
export const KILLED: Written = { seed: 11, groups: 24, options: { identity: 'killed', maxShardBytes: 30_000 } };
/** In one file of some hundred kilobytes. */
export const LARGE: Written = { seed: 12, groups: 40, options: { identity: 'large' } };
