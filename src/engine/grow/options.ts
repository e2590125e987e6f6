/** Options of growing where a worker does it. */

import {
  jobOptions,
  type GrowOptions as LocalGrowOptions,
  type PlanGrowOptions as LocalPlanOptions,
} from '../../grow/options.ts';
import { type MergeOptions as LocalMergeOptions, mergeOptions } from '../../merge/options.ts';
import { callback, either, folder, nothing, place, refusal, type Schema, truth, words } from '../../options/rules.ts';
import { filesOptions } from '../../runtime/hub/options.ts';

/** Where a job runs and what it gets; the rest is as in `espalier/grow`. */
export interface Place {
  /**
   * The folder to write: one that does not exist yet or is empty, by path or file URL, where the host has files. Default: none; the
   * result is held in memory and comes back as Blobs.
   */
  readonly out?: string | URL;
  /** Name of the folder for downloads; default: the host's own. Null: in memory. */
  readonly cache?: string | null;
  /** Gives bytes away: they are moved to the worker instead of copied, and the caller's arrays are empty then. */
  readonly transfer?: boolean;
  /** The script of the worker (`workers/grow.js`), and that of a lane, where they are not beside the JavaScript. */
  readonly workerLocation?: string | URL;
  readonly laneLocation?: string | URL;
}

export interface PlanGrowOptions extends Omit<LocalPlanOptions, 'cache'>, Place {}

export interface GrowOptions extends Omit<LocalGrowOptions, 'out' | 'cache'>, Place {}

const where = {
  out: {
    ...folder,
    check: (value: unknown, name: string): string | URL => {
      const elsewhere =
        'a path, or a file URL; the function of the same name in espalier/grow or espalier/local writes to any output, in your own thread';
      if (typeof value === 'object' && !(value instanceof URL)) throw refusal(name, value, elsewhere);
      return folder.check(value, name);
    },
  },
  cache: either(words, nothing),
  transfer: truth,
  workerLocation: place,
  laneLocation: place,
};

const there = { ...jobOptions, ...filesOptions, ...where };

/** Of `espalier`, where a worker does it. */
export const planThereOptions = there as Schema<PlanGrowOptions>;

export const growThereOptions = { ...there, restart: truth, onProgress: callback } as Schema<GrowOptions>;

export interface MergeOptions extends Omit<LocalMergeOptions, 'out' | 'cache'>, Place {}

export const mergeThereOptions = { ...mergeOptions, ...where } as Schema<MergeOptions>;
