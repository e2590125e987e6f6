/** Options of showing where a worker does it. What they hold the worker checks, by the schemas of `espalier/show`. */
import type { EvaluateOptions as LocalEvaluateOptions } from '../../evaluate/options.ts';
import { type Rule, refusal } from '../../options/rules.ts';
import type { ShowOptions as LocalShowOptions, ShowRank } from '../../show/answer/options.ts';
import type { PoolOptions as LocalPoolOptions } from '../../show/pool/options.ts';

/** A function cannot cross; give `ask` a `ranking`. */
export type SentRanking = Exclude<ShowRank, (...args: never[]) => unknown>;

/** Where encoded shots are kept between runs, as a worker finds it. */
export interface StorePlace {
  /**
   * Keeps encoded shots between runs: in a folder, or in browsers under a name, as `openShotStore` takes it; true: in its default place.
   * Default null: nowhere.
   */
  readonly store?: string | true | null;
}

const PLACE = 'a folder, in browsers a name, or true for the default place; espalier/show takes any store';

export const storePlace: Rule<string | true | null> = {
  takes: PLACE,
  check: (value, name) => {
    if (value === null || value === true || (typeof value === 'string' && value !== '')) return value;
    throw refusal(name, value, PLACE);
  },
};

export interface PoolOptions extends Omit<LocalPoolOptions, 'store'>, StorePlace {}

export interface ShowOptions extends Omit<LocalShowOptions, 'rank'> {
  /** Which shots come first. */
  readonly rank?: SentRanking;
}

export interface EvaluateOptions extends Omit<LocalEvaluateOptions, 'store' | 'rank'>, StorePlace {
  /** Ranking of the arm `label`; default: as the preset has it. `parity` has the paper's. */
  readonly rank?: SentRanking;
}
