import { samplingOptions } from '../../model/generate/options.ts';
import { object } from '../../options/check.ts';
import {
  type AnyRule,
  callback,
  defaulting,
  either,
  isOptions,
  listOf,
  nothing,
  oneOf,
  type Rule,
  real,
  refusal,
  type Schema,
  signal,
  text,
  truth,
  whole,
  words,
} from '../../options/rules.ts';
import { type ContextOptions, contextOptions } from '../place/options.ts';
import { rank } from '../rank/options.ts';
import type { RankMethod } from '../rank/rankings.ts';
import { count, ids, some } from '../rules.ts';
import type { EntropyRule, Fallback, Fitted, Grid, NearestVote, Preset, RidgePrior } from '../types.ts';

/** How shots of a pool are ranked for an answer. */
export type ShowRank = RankMethod | 'contrast';

/** How queries are answered. Every field has a default by the preset; `settingsOfArm` gives all of them. */
export interface ShowOptions extends ContextOptions {
  /**
   * `label`: one of the labels, from the distribution at the answer. `generate`: free text, probed by a yes-or-no question. `parity`: as
   * the paper, for either: with labels the answer is one of them.
   */
  readonly preset: Preset;
  /** What may be answered. Needed by `label`; with `parity` they restrict the answer. */
  readonly labels?: readonly string[];
  /**
   * End of every query, such as `Type:`; labels are tokenised behind it, with a space between. Default `:`, behind which most tokenisers
   * do the same.
   */
  readonly prompt?: string;
  /** `sum`: by the sum of log-probabilities (S2). `greedy`: token by token, from what labels allow (S1). Default sum; parity: greedy. */
  readonly scoring?: 'sum' | 'greedy';
  /**
   * Whose distribution over labels counts behind a number of shots. `one`: its own. `all`: the geometric mean of it and of those behind
   * all smaller numbers that were tried for the query, whose passes were made anyway (a logarithmic opinion pool). Only with entropy
   * `label` and scoring `sum`.
   */
  readonly ensemble?: 'one' | 'all';
  /**
   * Labels of the query's nearest shots vote too: distributions over labels are multiplied by the vote's shares to the power of `weight`.
   * Of a pool, or chains, with labelled shots; null: no vote. Not with greedy scoring.
   */
  readonly vote?: NearestVote | null;
  /**
   * What kernel ridge regression of the pool's labels says counts too: the kernel is the mean cosine of keys of prompts, regularisation and temperature
   * are fitted to examples left out one at a time. Distributions over labels are multiplied by its shares to the power of `weight`, and the
   * model's own count to the power of `modelWeight` beside it. Where it and the vote are sure enough (`threshold`), no shot is shown; else the model is
   * asked for the `candidates` likeliest labels alone, and others keep the probability that they had. Of a pool with labelled shots that were
   * cached alone; null: it does not count. Not with greedy scoring.
   */
  readonly ridge?: RidgePrior | null;
  /**
   * Which shots come first. `contrast`: the nearest shot of each of the four labels that ridge regression finds likeliest in turn, then the second
   * nearest; near by BM25 and by how much a shot's label counts in the regression, each standardised over the pool, in equal parts.
   */
  readonly rank?: ShowRank;
  /** Counts of shots that are tried. */
  readonly grid?: Grid;
  /** What is looked at: the distribution over labels, or the answer to a yes-or-no question, by one of three rules. */
  readonly entropy?: EntropyRule;
  /** Entropy that is sure enough, in the unit of the rule. */
  readonly threshold?: number;
  /** Least probability of all answers that count, without which a count is not sure. */
  readonly leastMass?: number;
  /** Yes-or-no questions: whether only a yes counts (D2b). */
  readonly onlyYes?: boolean;
  /** What is answered when no count was sure: of the largest count, of the least entropy, or of so many shots. */
  readonly fallback?: Fallback;
  /** What `calibrate` fitted for the same task and model: its threshold, fallback, vote, ridge and bias go before those given. */
  readonly calibration?: Fitted;
  /** What is asked behind a query, for yes-or-no questions; it ends where the answer's first token begins. */
  readonly question?: string;
  /** Of free text. Default 256. */
  readonly maxTokens?: number;
  /** One text, or several, that end free text. Default: two line ends. */
  readonly stop?: string | readonly string[];
  /** Sampling temperature of free text; 0, the default, is greedy. */
  readonly sampling?: {
    readonly temperature?: number;
    readonly topK?: number;
    readonly topP?: number;
    readonly seed?: number;
  };
}

const geometric = { kind: oneOf('geometric'), first: some, perRound: some, most: some, zero: truth };

const arithmetic = { kind: oneOf('arithmetic'), step: some, perRound: some, rounds: some, most: some, zero: truth };

const counts = listOf(count, 1);

const GRID = "{ kind: 'geometric', … }, { kind: 'arithmetic', … }, or a list of at least one count";

export const grid: Rule<Grid> = {
  takes: GRID,
  list: true,
  check: (value, name) => {
    if (Array.isArray(value)) return counts.check(value, name);
    const kind = isOptions(value) ? value['kind'] : null;
    if (kind === 'geometric') return object<Extract<Grid, { kind: 'geometric' }>>(geometric, 'grid').check(value, name);
    if (kind === 'arithmetic') {
      return object<Extract<Grid, { kind: 'arithmetic' }>>(arithmetic, 'grid').check(value, name);
    }
    throw refusal(name, value, GRID);
  },
};

export const vote: Rule<NearestVote | null> = either(
  nothing,
  object<NearestVote>({ neighbours: some, weight: real(0, 1e3) }, 'vote', ['neighbours', 'weight']),
);

export const ridge: Rule<RidgePrior | null> = either(
  nothing,
  object<RidgePrior>({ weight: real(0, 1e3), modelWeight: real(0, 1e3), candidates: whole(2) }, 'ridge', [
    'weight',
    'modelWeight',
    'candidates',
  ]),
);

const contrast = oneOf('contrast');

export const showRank: Rule<ShowRank> = {
  takes: `contrast, ${rank.takes}`,
  check: (value, name) => {
    if (value === 'contrast') return contrast.check(value, name);
    try {
      return rank.check(value, name);
    } catch {
      throw refusal(name, value, showRank.takes);
    }
  },
};

const fallback: Rule<Fallback> = either(
  oneOf('most', 'least-entropy'),
  object<{ readonly shots: number }>({ shots: count }, 'fallback', ['shots']),
);

const bias: Rule<NonNullable<Fitted['bias']>> = {
  takes: 'lists of numbers by count',
  check: (value, name) => {
    if (!isOptions(value)) throw refusal(name, value, bias.takes);
    const lists = Object.entries(value).map(([shots, list]) => {
      if (!/^\d+$/.test(shots)) throw refusal(name, value, bias.takes);
      return [Number(shots), listOf(real(-1e4, 1e4)).check(list, `${name}.${shots}`)] as const;
    });
    return Object.fromEntries(lists);
  },
};

const fitted: Readonly<Record<keyof Fitted, AnyRule>> = {
  labels: listOf(words, 2),
  threshold: real(0),
  fallback,
  vote,
  ridge,
  bias: either(nothing, bias),
};

/** What `calibrate` gave, with what else it said; or these members of it. */
const calibration: Rule<Fitted> = {
  takes: 'what calibrate() gave',
  check: (value, name) => {
    if (!isOptions(value)) throw refusal(name, value, calibration.takes);
    // those of before ridge regression were fitted without
    const whole: Readonly<Record<string, unknown>> = { ridge: null, ...value };
    const members = Object.entries(fitted).map(([field, rule]) => [
      field,
      rule.check(whole[field], `${name}.${field}`),
    ]);
    return { ...whole, ...Object.fromEntries(members) } as unknown as Fitted;
  },
};

export const threshold = real(0);

export const ensemble = oneOf('one', 'all');

export const scoring = oneOf('sum', 'greedy');

export const showOptions = {
  preset: oneOf('label', 'generate', 'parity'),
  labels: listOf(text('a text'), 2),
  prompt: text(),
  ...contextOptions,
  scoring,
  ensemble,
  vote,
  ridge,
  rank: showRank,
  grid,
  entropy: oneOf('label', 'raw-nats', 'two-way-nats', 'two-way-bits'),
  threshold,
  leastMass: real(0, 1),
  onlyYes: truth,
  fallback,
  calibration,
  question: words,
  maxTokens: whole(1),
  stop: either(words, listOf(words)),
  sampling: object<NonNullable<ShowOptions['sampling']>>(
    {
      temperature: samplingOptions.temperature,
      topK: samplingOptions.topK,
      topP: samplingOptions.topP,
      seed: samplingOptions.seed,
    },
    'sampling',
  ),
} as const satisfies Schema<ShowOptions>;

export interface AskOptions {
  /** What is asked, without the words of the template: ranking by words compares this. Default: the query. */
  readonly input?: string;
  /** Shots that must not be used, by id, nor the blocks that they are in; ids of none do no harm. */
  readonly exclude?: readonly string[];
  /** Uses exactly so many shots (of blocks, the first ones that have as many) and probes nothing; for comparisons. A vote counts all the same, of 0 shots too. */
  readonly shots?: number;
  /** The ranking to use instead of the configured one: ids, best first. */
  readonly ranking?: readonly string[];
  /** Computes the same with full attention too. Default false. */
  readonly compare?: boolean;
  readonly signal?: AbortSignal;
}

export const askOptions = {
  input: text(),
  exclude: ids,
  shots: count,
  ranking: ids,
  compare: defaulting(truth, false),
  signal,
} as const satisfies Schema<AskOptions>;

export interface CalibrateOptions {
  /** `threshold`: that alone. `all` (default): also the fallback, the weight of the vote, and what is taken off each label. */
  readonly fit?: 'threshold' | 'all';
  readonly signal?: AbortSignal;
  /** Items that are done, 0 before the first. What their ranking has to encode first is told by the pool. */
  readonly onProgress?: (done: number, total: number) => void;
}

export const calibrateOptions = {
  fit: defaulting(oneOf('threshold', 'all'), 'all'),
  signal,
  onProgress: callback,
} as const satisfies Schema<CalibrateOptions>;
