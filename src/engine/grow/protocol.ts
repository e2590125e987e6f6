/** What crosses between the caller's thread and a grow worker, as types. */

import type { PlannedGrowth } from '../../grow/job.ts';
import type { GrowOptions as LocalGrowOptions, PlanGrowOptions as LocalPlanOptions } from '../../grow/options.ts';
import type { Receipt } from '../../grow/write/receipt.ts';
import type { Merged } from '../../merge/job.ts';
import type { MergeOptions as LocalMergeOptions } from '../../merge/options.ts';
import type { JobCalls, WireOptions } from '../line/job.ts';
import type { LinkKind } from '../line/link.ts';
import type { WireTarget } from '../line/port.ts';

/** What a job has made. */
export interface Grown {
  /** Also in the folder, or among the files, as `espalier-receipt.json`. */
  readonly receipt: Receipt;
  /** The new checkpoint by file name, as `open` takes it; empty when it was written to a folder. */
  readonly files: Readonly<Record<string, Blob>>;
}

/** What merging has made. */
export interface MergedFiles extends Omit<Merged, 'files'> {
  /** Of the weights. */
  readonly sizes: Merged['files'];
  /** The new checkpoint by file name, as `open` takes it; empty when it was written to a folder. */
  readonly files: Readonly<Record<string, Blob>>;
}

/** Calls that a grow worker answers: `start`, and then one of the others. */
export interface GrowCalls extends JobCalls {
  grow(source: WireTarget, options: WireOptions<LocalGrowOptions>): Promise<Grown>;
  planGrow(source: WireTarget, options: WireOptions<LocalPlanOptions>): Promise<PlannedGrowth>;
  merge(source: WireTarget, options: WireOptions<LocalMergeOptions>): Promise<MergedFiles>;
}

export const GROW: LinkKind = {
  worker: 'grow',
  again: 'Start it again; a job in a folder goes on where it was.',
  local: 'grow of espalier/grow',
};
