/** Options of a pool of shots. */
import type { EspalierError } from '../../errors.ts';
import { checked, object } from '../../options/check.ts';
import {
  callback,
  defaulting,
  either,
  isOptions,
  like,
  nothing,
  oneOf,
  type Rule,
  refusal,
  type Schema,
  signal,
  text,
  truth,
} from '../../options/rules.ts';
import { atMost, count, instruction, some } from '../rules.ts';
import type { PoolProgress, PrefixMode, ShotStore, StorageType, WorkEstimate } from '../types.ts';

export interface GrowRule {
  /** Shots that are encoded when the pool is built. Default 32; 0: none. */
  readonly initial?: number;
  /** How many are encoded, or placed, at a time. Default 32. */
  readonly step?: number;
  /** Most shots held at once; beyond, the one that was used longest ago goes. Default 128. */
  readonly most?: number;
}

const growRule = {
  initial: defaulting(atMost(0), 32),
  step: defaulting(atMost(1), 32),
  most: defaulting(atMost(1), 128),
} as const satisfies Schema<GrowRule>;

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

const STORE = ['read', 'write', 'remove', 'bytes', 'clear'] as const;

const store = like<ShotStore>('a store, such as openShotStore() makes', (value) =>
  STORE.every((name) => typeof (value as Record<string, unknown>)[name] === 'function'),
);

export const storage = defaulting(oneOf('int8', 'int4', 'f16', 'f32'), 'int8');

export interface PoolOptions {
  /** Stands once, behind the begin-of-text token and before all shots. Default: none. */
  readonly instruction?: string;
  /** What a shot sees while it is encoded: see `PrefixMode`. Default `bare`. */
  readonly prefix?: PrefixMode;
  /** How keys and values are stored. Default int8. */
  readonly storage?: StorageType;
  /** How many shots are encoded at first (32), at a time (32), and held at most (128). */
  readonly grow?: GrowRule;
  /** Most bytes of stored keys and values on the device; default: no limit but `grow.most`. */
  readonly byteLimit?: number;
  /** Keeps encoded shots between runs. One that cannot be read or written costs time, and no answer. Default null: nowhere. */
  readonly store?: ShotStore | null;
  /** Called when the store fails for the first time: E_STORAGE_FULL, E_FILE_WRITE, E_FILE_READ. `ShotPool.warnings` has it too. */
  readonly onWarning?: (warning: EspalierError) => void;
  readonly signal?: AbortSignal;
  /**
   * Called before shots are encoded, by `build`, by `prepare` or because a ranking needs the keys of all; and again, with the time that is left,
   * when the first of them are done. What is in the store is loaded and takes less.
   */
  readonly onEstimate?: (estimate: WorkEstimate) => void;
  /** Called several times a second, and when all is done. */
  readonly onProgress?: (progress: PoolProgress) => void;
}

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

export interface EncodeQueryOptions {
  /** False: tokens only, which is enough for bm25, random, printed and functions. Default true. */
  readonly withVector?: boolean;
  /** With the vector: whether the centre is wanted too, for keys-centred and hybrid; computed once a pool. Default true. */
  readonly withCentre?: boolean;
  /** Whether its features are wanted, which ridge regression compares with those of shots' prompts. Default false. */
  readonly withFeatures?: boolean;
  /** What is compared by words. Default: the query. */
  readonly input?: string;
  readonly signal?: AbortSignal | undefined;
}

export const encodeQueryOptions = {
  withVector: defaulting(truth, true),
  withCentre: defaulting(truth, true),
  withFeatures: defaulting(truth, false),
  input: text(),
  signal,
} as const satisfies Schema<EncodeQueryOptions>;

const waitOptions = { signal } as const satisfies Schema<{ readonly signal?: AbortSignal | undefined }>;

/** Of a pool that encodes what is asked for. @throws E_ARGUMENT */
export function signalOf(options: unknown): AbortSignal | undefined {
  return checked<{ readonly signal?: AbortSignal | undefined }>(waitOptions, options, 'the pool').signal;
}
