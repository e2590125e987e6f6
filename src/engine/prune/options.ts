/** Options of pruning where a worker does it. */
import { deviceName } from '../../device/options.ts';
import type { Schema } from '../../options/rules.ts';
import {
  type PlanPruneOptions as LocalPlanOptions,
  type PruneOptions as LocalPruneOptions,
  pruneRecipe,
} from '../../prune/options.ts';
import { filesOptions } from '../../runtime/hub/options.ts';
import { trainWriteOptions } from '../../train/options.ts';
import { type ComputingPlace, type Place, placeOptions } from '../line/job.ts';

export interface PlanPruneOptions extends Omit<LocalPlanOptions, 'out' | 'cache' | 'device'>, Place, ComputingPlace {}

export interface PruneOptions extends Omit<LocalPruneOptions, 'out' | 'cache' | 'device'>, Place, ComputingPlace {}

const HERE = 'prune of espalier/prune';
const there = { ...pruneRecipe, ...filesOptions, ...placeOptions(HERE), device: deviceName(HERE) };

/** Of `espalier`, where a worker does it. */
export const planPruneThereOptions = there as Schema<PlanPruneOptions>;

export const pruneThereOptions = { ...there, ...trainWriteOptions } as Schema<PruneOptions>;
