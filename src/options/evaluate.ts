/** Options of data, of ranking by words and of evaluations. */

import type { DataFiles, DataSource } from '../datasets/files.ts';
import { DATA_FORMATS, type DataFormat, type ParseDataOptions } from '../datasets/format.ts';
import type { SplitOptions } from '../datasets/splits.ts';
import type { Arm } from '../evaluate/arms.ts';
import type { ReportOptions } from '../evaluate/report.ts';
import type { EvaluateOptions, Shard } from '../evaluate/setting.ts';
import type { BootstrapOptions } from '../evaluate/statistics.ts';
import type { EvaluationRecord } from '../evaluate/types.ts';
import type { Bm25Options } from '../show/rank/bm25.ts';
import { object } from './check.ts';
import {
  callback,
  defaulting,
  either,
  isOptions,
  like,
  listOf,
  nothing,
  oneOf,
  type Rule,
  real,
  refusal,
  type Schema,
  text,
  truth,
  whole,
  words,
} from './rules.ts';
import {
  chainsOptions,
  ensemble,
  grid,
  order,
  poolOptions,
  rank,
  scoring,
  temperature,
  threshold,
  vote,
} from './show.ts';
import { checkedTemplate } from './show-data.ts';

export const bm25Options = {
  k1: defaulting(real(0), 1.2),
  b: defaulting(real(0, 1), 0.75),
} as const satisfies Schema<Bm25Options>;

export const dataFormat: Rule<DataFormat> = oneOf(...DATA_FORMATS);

const dataSource: Rule<DataSource> = {
  takes: 'a path, a file URL, bytes or a Blob',
  check: (value, name) => {
    const isBlob = typeof Blob !== 'undefined' && value instanceof Blob;
    if (isBlob || value instanceof URL || value instanceof Uint8Array || (typeof value === 'string' && value !== '')) {
      return value as DataSource;
    }
    throw refusal(name, value, dataSource.takes);
  },
};

export const dataFiles = {
  path: dataSource,
  test: dataSource,
  dev: dataSource,
} as const satisfies Schema<DataFiles>;

export const parseDataOptions = {
  name: text(),
  part: defaulting(oneOf('train', 'dev', 'test'), 'train'),
} as const satisfies Schema<ParseDataOptions>;

export const splitOptions = {
  pool: whole(0),
  dev: defaulting(whole(0), 0),
  test: whole(0),
  balanced: defaulting(truth, false),
  seed: defaulting(whole(0), 0),
} as const satisfies Schema<SplitOptions>;

export const bootstrapOptions = {
  resamples: defaulting(whole(1, 1e6), 1000),
  level: defaulting(real(0, 1, { above: true }), 0.95),
  seed: defaulting(whole(0), 0),
} as const satisfies Schema<BootstrapOptions>;

export const reportOptions = { ...bootstrapOptions, against: words } as const satisfies Schema<ReportOptions>;

const arm = like<Arm>('an arm, as parseArms() makes', (value) => 'name' in value && 'kind' in value);
export const arms: Rule<readonly Arm[]> = listOf(arm, 1);

const template: EvaluateOptions['template'] extends infer T ? Rule<T> : never = {
  takes: 'one of TEMPLATES, or what namedTemplate() makes',
  check: (value) => checkedTemplate(value),
};

export const record = like<EvaluationRecord>(
  'a record, as evaluate() makes',
  (value) => 'arm' in value && typeof value.arm === 'string' && ('skipped' in value || 'item' in value),
);

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
  rank,
  grid,
  ensemble,
  vote,
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
