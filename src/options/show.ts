/** Options of showing examples (`espalier/show`). */

import type { EncodeShotsOptions } from '../engine/show/encode-shots.ts';
import type { ShowOptions } from '../show/answer/options.ts';
import type { CalibrateOptions } from '../show/answer/threshold.ts';
import type { ChainOptions } from '../show/place/chain.ts';
import type { ChainsOptions } from '../show/place/chains.ts';
import type { LabelTrieOptions } from '../show/probe/labels.ts';
import type {
  AskOptions,
  ContextOptions,
  EncodeQueryOptions,
  Fallback,
  Fitted,
  Grid,
  GrowRule,
  NearestVote,
  PoolOptions,
  PrefixMode,
  RankMethod,
  ShotStore,
} from '../show/types.ts';
import { checked, object } from './check.ts';
import { samplingOptions } from './model.ts';
import { contextLength, engineOpenOptions, MOST_LANES, precision } from './open.ts';
import {
  type AnyRule,
  callback,
  defaulting,
  either,
  isOptions,
  like,
  listOf,
  nothing,
  oneOf,
  place,
  type Rule,
  real,
  refusal,
  type Schema,
  signal,
  text,
  truth,
  whole,
  words,
} from './rules.ts';

/** An integer, or Infinity for no limit. */
const atMost = (least: number): Rule<number> => {
  const limited = whole(least, Number.MAX_SAFE_INTEGER, `an integer of at least ${least}, or Infinity`);
  return {
    ...limited,
    check: (value, name) => (value === Number.POSITIVE_INFINITY ? value : limited.check(value, name)),
  };
};

const factor = real(0.01, 100);
const MOST_SHOTS = 1e6;
const count = whole(0, MOST_SHOTS);
const some = whole(1, MOST_SHOTS);

/** One of two members, and no more. */
const blocksOrRepair = object<{ blocks?: number; repair?: number }>({ blocks: some, repair: count }, 'prefix');
const PREFIX = '"bare", "prefixed", "recompute", { blocks } from 1 on, or { repair } from 0 on';

export const prefix: Rule<PrefixMode> = {
  takes: PREFIX,
  check: (value, name) => {
    if (value === 'bare' || value === 'prefixed' || value === 'recompute') return value;
    if (!isOptions(value)) throw refusal(name, value, PREFIX);
    const { blocks, repair } = blocksOrRepair.check(value, name);
    if (blocks !== undefined && repair === undefined) return { blocks };
    if (repair !== undefined && blocks === undefined) return { repair };
    throw refusal(name, value, PREFIX);
  },
};

const growRule = {
  initial: defaulting(atMost(0), 32),
  step: defaulting(atMost(1), 32),
  most: defaulting(atMost(1), 128),
} as const satisfies Schema<GrowRule>;

const STORE = ['read', 'write', 'remove', 'bytes', 'clear'] as const;
const store = like<ShotStore>('a store, such as openShotStore() makes', (value) =>
  STORE.every((name) => typeof (value as Record<string, unknown>)[name] === 'function'),
);

export const storage = defaulting(oneOf('f16', 'int8', 'f32'), 'f16');
const instruction = text();

export const poolOptions = {
  instruction,
  prefix: defaulting(prefix, 'bare'),
  storage,
  grow: object<GrowRule>(growRule, 'grow'),
  byteLimit: atMost(1),
  store: either(store, nothing),
  onWarning: callback,
  onEstimate: callback,
  onProgress: callback,
  signal,
} as const satisfies Schema<PoolOptions>;

export const encodeQueryOptions = {
  withVector: defaulting(truth, true),
  withCentre: defaulting(truth, true),
  input: text(),
  signal,
} as const satisfies Schema<EncodeQueryOptions>;

export const order = oneOf('best-first', 'best-nearest');
export const temperature = factor;

export const contextOptions = {
  order,
  temperature,
  scale: factor,
  room: whole(1),
} as const satisfies Schema<ContextOptions>;

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

const seeded = object<{ readonly random: number }>({ random: whole(0) }, 'rank', ['random']);
const RANKINGS = ['keys', 'keys-z', 'keys-centred', 'bm25', 'hybrid', 'printed'] as const;
type RankFunction = Extract<RankMethod, (...args: never[]) => unknown>;
const ranking = either(oneOf(...RANKINGS), callback as Rule<unknown> as Rule<RankFunction>);

export const rank: Rule<RankMethod> = {
  takes: `${ranking.takes}, or { random: seed }`,
  check: (value, name) => {
    return isOptions(value) ? seeded.check(value, name) : ranking.check(value, name);
  },
};

export const vote: Rule<NearestVote | null> = either(
  nothing,
  object<NearestVote>({ neighbours: some, weight: real(0, 1e3) }, 'vote', ['neighbours', 'weight']),
);

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
  bias: either(nothing, bias),
};

/** What `calibrate` gave, with what else it said; or these members of it. */
const calibration: Rule<Fitted> = {
  takes: 'what calibrate() gave',
  check: (value, name) => {
    if (!isOptions(value)) throw refusal(name, value, calibration.takes);
    const members = Object.entries(fitted).map(([field, rule]) => [
      field,
      rule.check(value[field], `${name}.${field}`),
    ]);
    return { ...value, ...Object.fromEntries(members) } as unknown as Fitted;
  },
};

export const threshold = real(0);
export const ensemble = oneOf('one', 'all');
export const scoring = oneOf('sum', 'greedy');
const { temperature: heat, topK, topP, seed } = samplingOptions;

export const showOptions = {
  preset: oneOf('label', 'generate', 'parity'),
  labels: listOf(text('a text'), 2),
  prompt: text(),
  ...contextOptions,
  scoring,
  ensemble,
  vote,
  rank,
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
  sampling: object<NonNullable<ShowOptions['sampling']>>({ temperature: heat, topK, topP, seed }, 'sampling'),
} as const satisfies Schema<ShowOptions>;

const ids = listOf(words);

const waitOptions = { signal } as const satisfies Schema<{ readonly signal?: AbortSignal | undefined }>;

/** Of a pool that encodes what is asked for. @throws E_ARGUMENT */
export function signalOf(options: unknown): AbortSignal | undefined {
  return checked<{ readonly signal?: AbortSignal | undefined }>(waitOptions, options, 'the pool').signal;
}

export const askOptions = {
  input: text(),
  exclude: ids,
  shots: count,
  ranking: ids,
  compare: defaulting(truth, false),
  signal,
} as const satisfies Schema<AskOptions>;

export const calibrateOptions = {
  fit: defaulting(oneOf('threshold', 'all'), 'all'),
  signal,
  onProgress: callback,
} as const satisfies Schema<CalibrateOptions>;

export const chainOptions = {
  instruction,
  signal,
  onProgress: callback,
  onEstimate: callback,
} as const satisfies Schema<ChainOptions>;

export const chainsOptions = {
  ...chainOptions,
  clusters: defaulting(whole(1, 256), 16),
  most: some,
} as const satisfies Schema<ChainsOptions>;

export const labelTrieOptions = {
  prompt: defaulting(text(), ''),
  labelText: callback,
  terminator: defaulting(text(), '\n'),
  cut: defaulting(truth, false),
} as const satisfies Schema<LabelTrieOptions>;

export const encodeShotsOptions = {
  precision,
  contextLength,
  hub: engineOpenOptions.hub,
  instruction,
  prefix: poolOptions.prefix,
  storage,
  store: words,
  workers: defaulting(either(whole(1, MOST_LANES), oneOf('auto')), 'auto'),
  workerLocation: place,
  wasmLocation: place,
  signal,
  onEstimate: callback,
  onProgress: callback,
} as const satisfies Schema<EncodeShotsOptions>;
