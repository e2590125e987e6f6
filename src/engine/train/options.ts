/** Options of training where a worker does it. */
import { deviceName } from '../../device/options.ts';
import { type RelearnOptions as LocalRelearnOptions, relearnJobOptions } from '../../evaluate/robustness/options.ts';
import type { Schema } from '../../options/rules.ts';
import { filesOptions } from '../../runtime/hub/options.ts';
import {
  type PlanTrainOptions as LocalPlanOptions,
  type TrainOptions as LocalTrainOptions,
  trainJobOptions,
  trainWriteOptions,
} from '../../train/options.ts';
import { type ComputingPlace, type Place, placeOptions } from '../line/job.ts';

export interface PlanTrainOptions extends Omit<LocalPlanOptions, 'cache' | 'device'>, Place, ComputingPlace {}

export interface TrainOptions extends Omit<LocalTrainOptions, 'out' | 'cache' | 'device'>, Place, ComputingPlace {}

const HERE = 'train of espalier/train';
const there = { ...trainJobOptions, ...filesOptions, ...placeOptions(HERE), device: deviceName(HERE) };

/** Of `espalier`, where a worker does it. */
export const planTrainThereOptions = there as Schema<PlanTrainOptions>;

export const trainThereOptions = { ...there, ...trainWriteOptions } as Schema<TrainOptions>;

/** Nothing is written. */
export interface RelearnOptions
  extends Omit<LocalRelearnOptions, 'cache' | 'device'>,
    Omit<Place, 'out'>,
    ComputingPlace {}

const RELEARN_HERE = 'relearn of espalier/prune';
const { out: _, ...nowhere } = placeOptions(RELEARN_HERE);

export const relearnThereOptions = {
  ...relearnJobOptions,
  ...filesOptions,
  ...nowhere,
  device: deviceName(RELEARN_HERE),
} as Schema<RelearnOptions>;
