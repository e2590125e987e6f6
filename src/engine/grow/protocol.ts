/** What crosses between the caller's thread and a grow worker, as types. */

import type { PlannedGrowth } from '../../grow/job.ts';
import type { GrowOptions as LocalGrowOptions, PlanGrowOptions as LocalPlanOptions } from '../../grow/options.ts';
import type { Receipt } from '../../grow/write/receipt.ts';
import type { Merged } from '../../merge/job.ts';
import type { MergeOptions as LocalMergeOptions } from '../../merge/options.ts';
import type { Host } from '../../runtime/host/types.ts';
import type { LinkKind, WorkerLink } from '../line/link.ts';
import type { Data, WireTarget } from '../line/port.ts';

/** The caller's host as the worker needs it. */
export type HostFacts = Omit<Host, 'spawn'>;

/** For locks: the worker's name, and those of workers that were ended in the middle of a job. */
export interface Threads {
  readonly name: string;
  readonly ended: readonly string[];
}

/** Options in a form that crosses. */
type Wire<T> = Omit<Data<T>, 'out' | 'cache' | 'lanes'> & {
  /** A path or a file URL; without it the files go back to the caller. */
  readonly out?: string;
  readonly cache?: string | null;
  readonly lanes: number;
};

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
export interface GrowCalls {
  start(host: HostFacts, threads: Threads): void;
  grow(source: WireTarget, options: Wire<LocalGrowOptions>): Promise<Grown>;
  planGrow(source: WireTarget, options: Wire<LocalPlanOptions>): Promise<PlannedGrowth>;
  merge(source: WireTarget, options: Wire<LocalMergeOptions>): Promise<MergedFiles>;
}

export type GrowLink = WorkerLink<GrowCalls>;

export const GROW: LinkKind = {
  worker: 'grow',
  again: 'Start it again; a job in a folder goes on where it was.',
  local: 'grow of espalier/grow',
};
