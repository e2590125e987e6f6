/** Options of growing where a worker does it. */

import {
  jobOptions,
  type GrowOptions as LocalGrowOptions,
  type PlanGrowOptions as LocalPlanOptions,
} from '../../grow/options.ts';
import { type MergeOptions as LocalMergeOptions, mergeOptions } from '../../merge/options.ts';
import { callback, type Schema, truth } from '../../options/rules.ts';
import { filesOptions } from '../../runtime/hub/options.ts';
import { type Place, placeOptions } from '../line/job.ts';

export interface PlanGrowOptions extends Omit<LocalPlanOptions, 'cache'>, Place {}

export interface GrowOptions extends Omit<LocalGrowOptions, 'out' | 'cache'>, Place {}

const where = placeOptions('the function of the same name in espalier/grow or espalier/local');

const there = { ...jobOptions, ...filesOptions, ...where };

/** Of `espalier`, where a worker does it. */
export const planThereOptions = there as Schema<PlanGrowOptions>;

export const growThereOptions = { ...there, restart: truth, onProgress: callback } as Schema<GrowOptions>;

export interface MergeOptions extends Omit<LocalMergeOptions, 'out' | 'cache'>, Place {}

export const mergeThereOptions = { ...mergeOptions, ...where } as Schema<MergeOptions>;
