/** Options of evaluations and their reports. */
import { type SplitOptions, splitOptions } from '../datasets/options.ts';
import { checkedTemplate, type Template } from '../datasets/templates.ts';
import type { EspalierError } from '../errors.ts';
import { object } from '../options/check.ts';
import {
  callback,
  defaulting,
  either,
  isOptions,
  like,
  listOf,
  nothing,
  type Rule,
  real,
  refusal,
  type Schema,
  text,
  whole,
  words,
} from '../options/rules.ts';
import { ensemble, grid, ridge, type ShowRank, scoring, showRank, threshold, vote } from '../show/answer/options.ts';
import { chainsOptions, order, temperature } from '../show/place/options.ts';
import { poolOptions } from '../show/pool/options.ts';
import type { Grid, NearestVote, RidgePrior, ShotOrder, ShotStore, StorageType } from '../show/types.ts';
import type { Arm } from './arms.ts';
import type { EvaluationRecord } from './types.ts';

export interface BootstrapOptions {
  /** Default 1000. */
  readonly resamples?: number;
  /** Default 0.95. */
  readonly level?: number;
  /** An integer from 0. Default 0. */
  readonly seed?: number;
}

export const bootstrapOptions = {
  resamples: defaulting(whole(1, 1e6), 1000),
  level: defaulting(real(0, 1, { above: true }), 0.95),
  seed: defaulting(whole(0), 0),
} as const satisfies Schema<BootstrapOptions>;

export interface ReportOptions extends BootstrapOptions {
  /** Name of the arm that all are held against. Default: none. */
  readonly against?: string;
}

export const reportOptions = { ...bootstrapOptions, against: words } as const satisfies Schema<ReportOptions>;

const arm = like<Arm>('an arm, as parseArms() makes', (value) => 'name' in value && 'kind' in value);

export const arms: Rule<readonly Arm[]> = listOf(arm, 1);

export const record = like<EvaluationRecord>(
  'a record, as evaluate() makes',
  (value) => 'arm' in value && typeof value.arm === 'string' && ('skipped' in value || 'item' in value),
);

export interface EvaluateOptions extends SplitOptions {
  readonly arms: readonly Arm[];
  readonly template: Template;
  /** Stands before all shots. Default: nothing. */
  readonly instruction?: string;
  /** Each seed draws pool, items and random shots anew: seed, seed + 1, … Default 1. */
  readonly seeds?: number;
  /** `sum` (S2, default), or `greedy` (S1); of all arms alike. */
  readonly scoring?: 'sum' | 'greedy';
  /** Of ranked shots. Default: best-nearest in fixed arms, and as the preset has it in adaptive ones. Random ones have one order. */
  readonly order?: ShotOrder;
  /** Of arms that reuse shots; default: as the preset has it. */
  readonly temperature?: number;
  /** Ranking of the arm `label`; default: as the preset has it. `parity` has the paper's. */
  readonly rank?: ShowRank;
  /** Counts that adaptive arms try; default: as the preset has it. */
  readonly grid?: Grid;
  /** Of adaptive arms but `parity`; default: as the preset has it. */
  readonly ensemble?: 'one' | 'all';
  readonly vote?: NearestVote | null;
  /** Of the arm `label`; default: as the preset has it. */
  readonly ridge?: RidgePrior | null;
  /** Entropy that is sure enough for adaptive arms; default: as the preset has it, or fitted where `dev` is above 0. */
  readonly threshold?: number;
  /** Tokens that the arms `repair` compute again. Default 8. */
  readonly repair?: number;
  /** Chains of the arms `chains`. Default 16. */
  readonly clusters?: number;
  /** So many items of each arm that reuses shots are compared with full attention. Default 0. */
  readonly fidelity?: number;
  readonly storage?: StorageType;
  /** Most bytes of stored keys and values. Default 1 GiB. */
  readonly byteLimit?: number;
  readonly store?: ShotStore | null;
  /** As in `PoolOptions`. */
  readonly onWarning?: (warning: EspalierError) => void;
  /**
   * Part `part` of `of` parts, from 1 on: of the test items only every `of`-th. What all parts found out together is what one run would have.
   * Default: all items.
   */
  readonly shard?: Shard;
  /** What an earlier run has found out: it is not done again. */
  readonly done?: Iterable<EvaluationRecord>;
  /** Called with each record as soon as it is there, and waited for. */
  readonly onRecord?: (record: EvaluationRecord) => Promise<void> | void;
  readonly onProgress?: (progress: EvaluationProgress) => void;
  readonly signal?: AbortSignal;
}

/** One of several runs that share the items. */
export interface Shard {
  readonly part: number;
  readonly of: number;
}

export interface EvaluationProgress {
  readonly arm: string;
  /** Items of all arms and seeds; of a part, its own. */
  readonly done: number;
  readonly total: number;
  /** What an arm needs before its items; null while it answers. */
  readonly preparing: Preparing | null;
}

const template: Rule<Template> = {
  takes: 'one of TEMPLATES, or what namedTemplate() makes',
  check: (value) => checkedTemplate(value),
};

/** Any iterable; its records are looked at when they are read. */
const records: Rule<Iterable<EvaluationRecord>> = like('records', (value) => Symbol.iterator in value);

const shard: Rule<Shard> = {
  takes: '{ part, of }: a part from 1 to the number of parts',
  check: (value, name) => {
    const { part, of } = isOptions(value)
      ? object<Partial<Shard>>({ part: whole(1), of: whole(1) }, 'shard').check(value, name)
      : {};
    if (part !== undefined && of !== undefined && part <= of) return { part, of };
    throw refusal(name, value, shard.takes);
  },
};

export const evaluateOptions = {
  ...splitOptions,
  pool: whole(1),
  test: whole(1),
  arms,
  template,
  instruction: text(),
  seeds: defaulting(whole(1, 1e6), 1),
  scoring: defaulting(scoring, 'sum'),
  order,
  temperature,
  rank: showRank,
  grid,
  ensemble,
  vote,
  ridge,
  threshold,
  repair: defaulting(whole(1), 8),
  clusters: chainsOptions.clusters,
  fidelity: defaulting(whole(0), 0),
  storage: poolOptions.storage,
  byteLimit: poolOptions.byteLimit,
  store: either(poolOptions.store, nothing),
  shard,
  done: records,
  onWarning: callback,
  onRecord: callback,
  onProgress: callback,
  signal: poolOptions.signal,
} as const satisfies Schema<EvaluateOptions>;

/** Shots of a pool that are encoded, parts of chains that are read, or development items that are answered. */
export interface Preparing {
  readonly what: 'encoding' | 'reading' | 'calibrating';
  readonly done: number;
  readonly total: number;
}
