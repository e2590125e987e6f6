/** Options of a crew, and its tasks. */

import { EspalierError } from '../../errors.ts';
import { object, readable } from '../../options/check.ts';
import {
  callback,
  defaulting,
  either,
  like,
  listOf,
  oneOf,
  place,
  type Rule,
  real,
  type Schema,
  signal,
  truth,
  whole,
} from '../../options/rules.ts';
import { shown } from '../../options/shown.ts';
import { nearest } from '../../options/suggest.ts';
import { MOST_LANES } from '../../runtime/host/lane-count.ts';
import type { TaskInput, TaskName } from './tasks.ts';

export interface CrewOptions {
  /** Workers; `auto` (default): as many as the host has cores. */
  readonly workers?: number | 'auto';
  /** False forces plain SIMD. */
  readonly relaxed?: boolean;
  /** Folder of the kernels' wasm files, where it is not beside the JavaScript. */
  readonly wasmLocation?: string | URL;
  /** The script of the workers (`workers/engine.js`), where it is not beside the JavaScript. */
  readonly workerLocation?: string | URL;
}

export const crewOptions = {
  workers: defaulting(either(whole(1, MOST_LANES), oneOf('auto')), 'auto'),
  relaxed: truth,
  wasmLocation: place,
  workerLocation: place,
} as const satisfies Schema<CrewOptions>;

export interface MapOptions {
  readonly signal?: AbortSignal;
  /** Gives the inputs' arrays away: they are moved instead of copied, and empty then. */
  readonly transfer?: boolean;
  /** Tasks done and in all. */
  readonly onProgress?: (done: number, total: number) => void;
}

export const mapOptions = {
  signal,
  transfer: defaulting(truth, false),
  onProgress: callback,
} as const satisfies Schema<MapOptions>;

// whether numbers are as many as sizes say, the task itself tells: E_SHAPE
const size = whole(0);

const floats = like<Float32Array>('a Float32Array', (value) => value instanceof Float32Array);

const finite = real(-Number.MAX_VALUE, Number.MAX_VALUE, { takes: 'a finite number' });

const TASKS: { readonly [K in TaskName]: Rule<TaskInput<K>> } = {
  matmul: object<TaskInput<'matmul'>>({ m: size, n: size, k: size, a: floats, b: floats, alpha: finite }, 'matmul', [
    'm',
    'n',
    'k',
    'a',
    'b',
  ]),
};

/** Inputs of a task, copied but for their arrays. @throws E_ARGUMENT */
export function checkedTasks<K extends TaskName>(name: K, inputs: unknown): readonly TaskInput<K>[] {
  if (typeof name === 'string' && Object.hasOwn(TASKS, name)) {
    return readable('The inputs', () => listOf<TaskInput<K>>(TASKS[name]).check(inputs, 'inputs'));
  }
  const names = Object.keys(TASKS);
  const near = typeof name === 'string' ? nearest(name, names) : null;
  const meant = near === null ? '.' : `; did you mean ${near}?`;
  throw new EspalierError('E_ARGUMENT', `There is no task ${shown(name)}${meant}`, `There are: ${names.join(', ')}.`);
}
