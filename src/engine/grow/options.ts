/** Options of growing where a worker does it. */
import { type DeviceName, deviceName } from '../../device/options.ts';
import {
  jobOptions,
  type GrowOptions as LocalGrowOptions,
  type PlanGrowOptions as LocalPlanOptions,
} from '../../grow/options.ts';
import { type MergeOptions as LocalMergeOptions, mergeOptions } from '../../merge/options.ts';
import { callback, type Schema, truth } from '../../options/rules.ts';
import { filesOptions } from '../../runtime/hub/options.ts';
import { type Place, placeOptions } from '../line/job.ts';

/** What computes where a worker does it. */
export interface GrowingPlace {
  /**
   * What computes Gram matrices and slices: `wasm`, the CPU, whose result is the same bits everywhere, or `webgpu`, a GPU. Eigenvectors, noise, rounding
   * and the comparison are the CPU's in either case. `auto` (default): the CPU.
   */
  readonly device?: DeviceName;
}

export interface PlanGrowOptions extends Omit<LocalPlanOptions, 'cache' | 'device'>, Place, GrowingPlace {}

export interface GrowOptions extends Omit<LocalGrowOptions, 'out' | 'cache' | 'device'>, Place, GrowingPlace {}

const where = placeOptions('the function of the same name in espalier/grow or espalier/local');

const there = { ...jobOptions, ...filesOptions, ...where, device: deviceName('grow of espalier/grow') };

/** Of `espalier`, where a worker does it. */
export const planThereOptions = there as Schema<PlanGrowOptions>;

export const growThereOptions = { ...there, restart: truth, onProgress: callback } as Schema<GrowOptions>;

export interface MergeOptions extends Omit<LocalMergeOptions, 'out' | 'cache'>, Place {}

export const mergeThereOptions = { ...mergeOptions, ...where } as Schema<MergeOptions>;
