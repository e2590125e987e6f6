/** Options of a crew, and its tasks. */
import type { CrewOptions, MapOptions } from '../engine/crew/crew.ts';
import type { TaskInput, TaskName } from '../engine/crew/tasks.ts';
import { EspalierError } from '../errors.ts';
import { object, readable } from './check.ts';
import { MOST_LANES } from './open.ts';
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
} from './rules.ts';
import { shown } from './shown.ts';
import { nearest } from './suggest.ts';

export const crewOptions = {
  workers: defaulting(either(whole(1, MOST_LANES), oneOf('auto')), 'auto'),
  relaxed: truth,
  wasmLocation: place,
  workerLocation: place,
} as const satisfies Schema<CrewOptions>;

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
