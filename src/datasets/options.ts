/** Options of data: how a file is read, how its examples are split. */
import { defaulting, oneOf, type Rule, type Schema, text, truth, whole } from '../options/rules.ts';
import { DATA_FORMATS, type DataFormat, type DataPart } from './format.ts';

export const dataFormat: Rule<DataFormat> = oneOf(...DATA_FORMATS);

export interface ParseDataOptions {
  /** For messages: the file. */
  readonly name?: string;
  /** Which part of a file that holds several (clinc150). Default `train`. */
  readonly part?: DataPart;
}

export const parseDataOptions = {
  name: text(),
  part: defaulting(oneOf('train', 'dev', 'test'), 'train'),
} as const satisfies Schema<ParseDataOptions>;

export interface SplitOptions {
  /** Examples in the pool. */
  readonly pool: number;
  /** Items to fit thresholds on. Default 0. */
  readonly dev?: number;
  readonly test: number;
  /** Equally many of every output, as far as there are. Default false: as they come. */
  readonly balanced?: boolean;
  /** An integer from 0. Default 0. */
  readonly seed?: number;
}

export const splitOptions = {
  pool: whole(0),
  dev: defaulting(whole(0), 0),
  test: whole(0),
  balanced: defaulting(truth, false),
  seed: defaulting(whole(0), 0),
} as const satisfies Schema<SplitOptions>;
