/** Options of opening a model, of devices and of engines. */
import type { OpenOptions as CheckpointOptions } from '../checkpoint/open.ts';
import type { Device, Precision } from '../device/device.ts';
import type { WasmDeviceOptions } from '../device/wasm/wasm-device.ts';
import type { Engine, EngineOpenOptions, EngineOptions } from '../engine/engine.ts';
import type { OpenOptions } from '../engine/model/open.ts';
import type { OpenOptions as LocalOpenOptions } from '../open-local.ts';
import type { Cache } from '../runtime/cache/cache.ts';
import type { FilesOptions, HubOptions } from '../runtime/hub/session.ts';
import { object } from './check.ts';
import {
  callback,
  defaulting,
  either,
  like,
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

/** Most threads of an engine or a job. */
export const MOST_LANES = 256;

const MiB = 2 ** 20;

export const lanes: Rule<number | 'auto'> = either(whole(1, MOST_LANES), oneOf('auto'));

export const memoryLimit: Rule<number> = whole(
  MiB,
  2 ** 32,
  'an integer of bytes from 1,048,576 (1 MiB) to 4,294,967,296 (4 GiB)',
);

export const contextLength: Rule<number> = whole(1);

export const precision: Rule<Precision> & { readonly default: 'int8' } = defaulting(
  oneOf('int8', 'int16', 'exact'),
  'int8',
);

/** Most milliseconds that a timer of JavaScript waits; one of more fires at once. */
const LONGEST = 2 ** 31 - 1;

/** Of a hub: its address, without a query or a user. */
export const endpoint: Rule<string> = {
  ...text('the http or https address of a hub'),
  check: (value, name) => {
    try {
      const { protocol, username, search } = new URL(value as string);
      if (typeof value === 'string' && /^https?:$/.test(protocol) && username === '' && search === '') return value;
    } catch {
      // as below
    }
    throw refusal(name, value, endpoint.takes);
  },
};

/** It is not shown, even where it is wrong. */
export const token: Rule<string> = {
  ...text('a token of the hub, as text without spaces and letters beyond ASCII'),
  check: (value, name) => {
    if (typeof value === 'string' && /^\s*[\x21-\x7e]*\s*$/.test(value)) return value.trim();
    throw refusal(name, typeof value === 'string' ? '…' : value, token.takes);
  },
};

export const hubOptions = {
  endpoint,
  token,
  revision: words,
  file: words,
  offline: truth,
  retries: defaulting(whole(0, 1e6), 5),
  retryDelay: defaulting(real(0, LONGEST), 500),
  timeout: defaulting(real(1, LONGEST), 30_000),
} as const satisfies Schema<HubOptions>;

const hub: Rule<HubOptions> = object<HubOptions>(hubOptions, 'hub');

const CACHE = ['open', 'claim', 'readRef', 'writeRef', 'list', 'remove', 'clear'] as const;
const cache = like<Cache>('a Cache', (value) =>
  CACHE.every((name) => typeof (value as Record<string, unknown>)[name] === 'function'),
);

export const filesOptions = {
  signal,
  onDownload: callback,
  hub,
  cache: either(words, nothing, cache),
} as const satisfies Schema<FilesOptions>;

/** Of `openCheckpoint`. */
export const checkpointOptions = {
  ...filesOptions,
  onProgress: callback,
} as const satisfies Schema<CheckpointOptions>;

export const localOpenOptions = {
  ...filesOptions,
  device: like<Device>(
    'a device, such as WasmDevice.create() makes',
    (value) => typeof (value as Device).loadMatrix === 'function' && typeof (value as Device).read === 'function',
  ),
  precision,
  contextLength,
  onProgress: callback,
} as const satisfies Schema<LocalOpenOptions>;

export const engineOpenOptions = {
  precision,
  contextLength,
  hub,
  cache: either(words, nothing),
  transfer: defaulting(truth, false),
  signal,
  onDownload: callback,
  onProgress: callback,
} as const satisfies Schema<EngineOpenOptions>;

export const engineOptions = {
  lanes: defaulting(lanes, 'auto'),
  relaxed: truth,
  memoryLimit,
  wasmLocation: place,
  workerLocation: place,
  laneLocation: place,
  signal,
} as const satisfies Schema<EngineOptions>;

export const openOptions = {
  ...engineOpenOptions,
  ...engineOptions,
  engine: like<Engine>(
    'an Engine, such as Engine.create() makes',
    (value) => typeof (value as Engine).open === 'function' && typeof (value as Engine).stats === 'function',
  ),
} as const satisfies Schema<OpenOptions>;

export const wasmDeviceOptions = {
  lanes: defaulting(whole(1, MOST_LANES), 1),
  spawnLane: callback,
  shared: truth,
  relaxed: truth,
  memoryLimit,
  debug: defaulting(truth, false),
  tuning: object<NonNullable<WasmDeviceOptions['tuning']>>(
    { micro: whole(0, 4), dot: whole(0, 2) }, // the numbers of MICRO and DOT, of a module that pages need not load here
    'tuning',
  ),
  wasmLocation: like<URL>('a URL', (value) => value instanceof URL),
} as const satisfies Schema<WasmDeviceOptions>;
