/** What crosses between the caller's thread and a train worker, as types. */
import type { RelearnOptions as LocalRelearnOptions } from '../../evaluate/robustness/options.ts';
import type { Relearned } from '../../evaluate/robustness/relearn.ts';
import type { PlannedTraining } from '../../train/job.ts';
import type { PlanTrainOptions as LocalPlanOptions, TrainOptions as LocalTrainOptions } from '../../train/options.ts';
import type { TrainReceipt } from '../../train/write/receipt.ts';
import type { JobCalls, WireOptions } from '../line/job.ts';
import type { LinkKind } from '../line/link.ts';
import type { WireTarget } from '../line/port.ts';

/** What a training has made. */
export interface Trained {
  /** Also in the folder, or among the files, as `espalier-training.json`. */
  readonly receipt: TrainReceipt;
  /** The new checkpoint, or the adapter, by file name, as `open` takes it; empty when it was written to a folder. */
  readonly files: Readonly<Record<string, Blob>>;
}

/** Calls that a train worker answers: `start`, and then one of the others. */
export interface TrainCalls extends JobCalls {
  train(source: WireTarget, options: WireOptions<LocalTrainOptions>): Promise<Trained>;
  relearn(source: WireTarget, options: WireOptions<LocalRelearnOptions>): Promise<Relearned>;
  planTrain(source: WireTarget, options: WireOptions<LocalPlanOptions>): Promise<PlannedTraining>;
}

export const TRAIN: LinkKind = {
  worker: 'train',
  again: 'Start it again; a training in a folder goes on where its last state was kept.',
  local: 'train of espalier/train',
};

export const RELEARN: LinkKind = { worker: 'train', again: 'Start it again.', local: 'relearn of espalier/prune' };
