/** What crosses between the caller's thread and a prune worker, as types. */
import type { PlannedPruning } from '../../prune/job/planned.ts';
import type { PlanPruneOptions as LocalPlanOptions, PruneOptions as LocalPruneOptions } from '../../prune/options.ts';
import type { PruneReceipt } from '../../prune/write/receipt.ts';
import type { JobCalls, WireOptions } from '../line/job.ts';
import type { LinkKind } from '../line/link.ts';
import type { WireTarget } from '../line/port.ts';

/** What a pruning has made. */
export interface Pruned {
  /** Also in the folder, or among the files, as `espalier-prune.json`. */
  readonly receipt: PruneReceipt;
  /** The adapter, by file name, as `open` takes it; empty when it was written to a folder. */
  readonly files: Readonly<Record<string, Blob>>;
}

/** Calls that a prune worker answers: `start`, and then one of the others. */
export interface PruneCalls extends JobCalls {
  prune(source: WireTarget, options: WireOptions<LocalPruneOptions>): Promise<Pruned>;
  planPrune(source: WireTarget, options: WireOptions<LocalPlanOptions>): Promise<PlannedPruning>;
}

export const PRUNE: LinkKind = {
  worker: 'prune',
  again: 'Start it again; a job in a folder goes on where its last state was kept.',
  local: 'prune of espalier/prune',
};
