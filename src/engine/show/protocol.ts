/** What crosses between the caller's thread and a show worker, as types: all of an engine's, and this. */
import type { TaskData } from '../../datasets/files.ts';
import type { EvaluationRecord } from '../../evaluate/types.ts';
import type { AskOptions, CalibrateOptions } from '../../show/answer/options.ts';
import type { ShowSettings } from '../../show/answer/presets.ts';
import type { CalibrationItem } from '../../show/answer/threshold.ts';
import type { ChainOptions, ChainsOptions } from '../../show/place/options.ts';
import type { Answer, Calibration, PrefixMode, Shot, StorageType } from '../../show/types.ts';
import type { LinkKind, WorkerLink } from '../line/link.ts';
import type { Data } from '../line/port.ts';
import type { Batch } from '../line/run-ahead.ts';
import type { WireError } from '../line/wire-error.ts';
import type { SignalOption } from '../model/options.ts';
import type { EngineCalls } from '../model/protocol.ts';
import type { EvaluateOptions, PoolOptions, ShowOptions } from './options.ts';

/** Of a pool that was built. */
export interface PoolFacts {
  readonly prefix: PrefixMode;
  readonly storage: StorageType;
  /** Whether what it encodes outlives the worker. */
  readonly isKept: boolean;
}

/** Of a pool as it stands. */
export interface PoolState {
  /** Shots, encoded or not. */
  readonly size: number;
  /** Tokens of all shots. */
  readonly tokens: number;
  /** Shots whose keys and values are on the device. */
  readonly resident: number;
  /** Of these keys and values. */
  readonly bytes: number;
  /** Shots that can be ranked by their keys. */
  readonly pooled: number;
  /** Null without a store. */
  readonly store: { readonly name: string; readonly bytes: number } | null;
  /** What went wrong and cost time alone: the store's first failure. */
  readonly warnings: readonly WireError[];
}

/** What becomes of the shots of a pool. */
export type PoolChange =
  | { readonly add: readonly Shot[] }
  | { readonly remove: readonly string[] }
  | { readonly replace: Shot };

/** What is asked for a query, and the threshold where the caller has set one. */
export interface Asking {
  readonly options: Data<AskOptions>;
  /** Null: as it was given or fitted. */
  readonly threshold: number | null;
}

export interface AnswerStart {
  readonly query: string;
  readonly asking: Asking;
}

/** What tells a model's weights and tokenizer from any others. */
export interface ModelIdentity {
  readonly weights: string;
  readonly tokenizer: string;
}

/** Calls that a show worker answers. What is made has the number of the call that makes it. */
export interface ShowCalls extends EngineCalls {
  pool(model: number, shots: readonly Shot[], options: Data<PoolOptions>): Promise<PoolFacts & { pool: number }>;
  state(pool: number): Promise<PoolState>;
  change(pool: number, change: PoolChange): void;
  /** Undefined: all of its shots. */
  prepare(pool: number, ids: readonly string[] | undefined, options: Data<SignalOption>): Promise<void>;
  chain(model: number, shots: readonly Shot[], options: Data<ChainOptions>): Promise<{ chain: number }>;
  chains(model: number, shots: readonly Shot[], options: Data<ChainsOptions>): Promise<{ chains: number }>;
  /** Over a pool, a chain or chains. */
  show(source: number, options: Data<ShowOptions>): Promise<{ show: number; settings: ShowSettings }>;
  ask(show: number, query: string, asking: Asking): Promise<Answer>;
  /** The next tokens of a free answer, which the first call starts. */
  nextAnswer(show: number, stream: number, start: AnswerStart | null): Promise<Batch<Answer>>;
  calibrate(
    show: number,
    dev: readonly CalibrationItem[],
    options: Data<CalibrateOptions>,
  ): Promise<{ calibration: Calibration; settings: ShowSettings }>;
  evaluate(model: number, task: TaskData, options: Data<EvaluateOptions>): Promise<readonly EvaluationRecord[]>;
  /** How many of the first shots fit the model's context, with some room for a query. */
  fitting(model: number, shots: readonly Shot[], instruction: string | undefined): number;
  identity(model: number): Promise<ModelIdentity>;
}

export type ShowLink = WorkerLink<ShowCalls>;

export const SHOW: LinkKind = {
  worker: 'show',
  again: 'Create another engine and open the models again; what a store holds is not encoded again.',
  local: 'espalier/local and espalier/show',
};
