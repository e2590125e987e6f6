/** Options of pruning where a worker does it. */
import type { Schema } from '../../options/rules.ts';
import { type PruneOptions as LocalPruneOptions, pruneRecipe } from '../../prune/options.ts';
import { filesOptions } from '../../runtime/hub/options.ts';
import { trainWriteOptions } from '../../train/options.ts';
import { type Place, placeOptions } from '../line/job.ts';

export interface PruneOptions extends Omit<LocalPruneOptions, 'out' | 'cache'>, Place {}

/** Of `espalier`, where a worker does it. */
export const pruneThereOptions = {
  ...pruneRecipe,
  ...filesOptions,
  ...placeOptions('prune of espalier/prune'),
  ...trainWriteOptions,
} as Schema<PruneOptions>;
