/** Options of training where a worker does it. */
import { type RelearnOptions as LocalRelearnOptions, relearnJobOptions } from '../../evaluate/robustness/options.ts';
import type { Schema } from '../../options/rules.ts';
import { filesOptions } from '../../runtime/hub/options.ts';
import {
  type PlanTrainOptions as LocalPlanOptions,
  type TrainOptions as LocalTrainOptions,
  trainJobOptions,
  trainWriteOptions,
} from '../../train/options.ts';
import { type Place, placeOptions } from '../line/job.ts';

export interface PlanTrainOptions extends Omit<LocalPlanOptions, 'cache'>, Place {}

export interface TrainOptions extends Omit<LocalTrainOptions, 'out' | 'cache'>, Place {}

const there = { ...trainJobOptions, ...filesOptions, ...placeOptions('train of espalier/train') };

/** Of `espalier`, where a worker does it. */
export const planTrainThereOptions = there as Schema<PlanTrainOptions>;

export const trainThereOptions = { ...there, ...trainWriteOptions } as Schema<TrainOptions>;

/** Nothing is written. */
export interface RelearnOptions extends Omit<LocalRelearnOptions, 'cache'>, Omit<Place, 'out'> {}

const { out: _, ...nowhere } = placeOptions('relearn of espalier/prune');

export const relearnThereOptions = { ...relearnJobOptions, ...filesOptions, ...nowhere } as Schema<RelearnOptions>;
