/** Options of growing: what is grown (`GrowRecipe`), and of a job. */
import type { GrowOptions as GrowThere, PlanGrowOptions as PlanThere } from '../engine/grow/grow.ts';
import { EspalierError } from '../errors.ts';
import type { GrowOptions, PlanGrowOptions } from '../grow/job.ts';
import type { GrowRecipe } from '../grow/plan/recipe.ts';
import {
  type LayerChoice,
  METHODS,
  type Noise,
  PARTITIONS,
  type Partition,
  PROJECTIONS,
  type Projection,
  type RouterInit,
  TARGETS,
  type TrainPlan,
} from '../grow/types.ts';
import type { OutputFolder } from '../runtime/output/output.ts';
import { object } from './check.ts';
import { filesOptions, lanes } from './open.ts';
import {
  callback,
  defaulting,
  either,
  folder,
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
  truth,
  whole,
  words,
} from './rules.ts';

const MOST_EXPERTS = 1024;
const MOST_LAYERS = 1e6;

/** A list of which no two members are the same. */
function distinct<T>(item: Rule<T>, takes: string): Rule<readonly T[]> {
  const list = listOf(item, 1);
  return {
    takes,
    list: true,
    check: (value, name) => {
      const checked = list.check(value, name);
      if (new Set(checked).size === checked.length) return checked;
      throw new EspalierError('E_ARGUMENT', `${name} has a member twice.`, `Give ${takes}.`);
    },
  };
}

/** An object with one member, of a name that is there. */
function single<T>(members: Readonly<Record<string, Rule<number>>>, takes: string): Rule<T> {
  return {
    takes,
    check: (value, name) => {
      const keys = isOptions(value) ? Object.keys(value) : [];
      const rule = keys.length === 1 && Object.hasOwn(members, keys[0]!) ? members[keys[0]!] : undefined;
      if (rule === undefined) throw refusal(name, value, takes);
      return { [keys[0]!]: rule.check((value as Record<string, unknown>)[keys[0]!], `${name}.${keys[0]}`) } as T;
    },
  };
}

/** An object whose `kind` says what else it has. */
function kinds<T>(byKind: Readonly<Record<string, Readonly<Record<string, Rule<number>>>>>, takes: string): Rule<T> {
  return {
    takes,
    check: (value, name) => {
      const kind = isOptions(value) ? value['kind'] : undefined;
      if (typeof kind !== 'string' || !Object.hasOwn(byKind, kind)) {
        if (typeof kind === 'string') throw refusal(`${name}.kind`, kind, takes);
        throw refusal(name, value, takes);
      }
      const members = byKind[kind]!;
      const given = value as Record<string, unknown>;
      const odd = Object.keys(given).find((key) => key !== 'kind' && !Object.hasOwn(members, key));
      if (odd !== undefined) {
        throw new EspalierError(
          'E_ARGUMENT',
          `${name} of kind "${kind}" has no ${odd.slice(0, 60)}.`,
          `Give ${takes}.`,
        );
      }
      const rest = Object.entries(members).map(([key, rule]) => [key, rule.check(given[key], `${name}.${key}`)]);
      return { kind, ...Object.fromEntries(rest) } as T;
    },
  };
}

const count = whole(1, MOST_LAYERS);

export const growRecipe = {
  preset: oneOf('paper', 'gguf-safe'),
  method: defaulting(oneOf(...METHODS), 'spri'),
  preserve: defaulting(oneOf('as-published', 'function-preserving'), 'as-published'),
  experts: defaulting(whole(2, MOST_EXPERTS), 8),
  topK: defaulting(whole(1, MOST_EXPERTS), 2),
  allowConstantGate: defaulting(truth, false),
  groupSize: whole(1, MOST_EXPERTS),
  layers: either<LayerChoice, 'auto', readonly number[]>(
    single<LayerChoice>(
      { interval: count, first: count, last: count },
      '{ interval }, { first } or { last } with an integer from 1 on',
    ),
    oneOf('auto'),
    distinct(whole(0, MOST_LAYERS), 'a list of different layers, the first being 0'),
  ),
  partition: defaulting(
    either<(typeof PARTITIONS)[number], Partition>(
      oneOf(...PARTITIONS),
      single<Partition>(
        { tailDrop: count, headKeep: count },
        '{ tailDrop } or { headKeep } with a count of singular components',
      ),
    ),
    'contiguous',
  ),
  shuffle: defaulting(truth, false),
  placement: distinct<Projection>(oneOf(...PROJECTIONS), 'a list of "gate", "up" and "down", each once'),
  anchor: oneOf('shared', 'folded', 'routed', 'none'),
  rho: real(0),
  delta: defaulting(real(0), 1e-12),
  normalise: defaulting(oneOf('group', 'global', 'spectral', 'none'), 'group'),
  noise: kinds<Noise>(
    { relative: { ratio: real(0) }, absolute: { sigma: real(0) }, none: {} },
    '{ kind: "relative", ratio } or { kind: "absolute", sigma } with a number from 0 on, or { kind: "none" }',
  ),
  noiseAll: truth,
  router: kinds<RouterInit>(
    {
      normal: { std: real(0, Number.MAX_VALUE, { above: true }) },
      uniform: { std: real(0, Number.MAX_VALUE, { above: true }) },
      'kaiming-uniform': {},
      'standard-normal': {},
      'inverse-sqrt-uniform': {},
      orthogonal: {},
    },
    '{ kind: "normal" or "uniform", std } with std above 0, or the kind "kaiming-uniform", "standard-normal", ' +
      '"inverse-sqrt-uniform" or "orthogonal" (a router of zeros ties: it would send every token to the first experts)',
  ),
  seed: defaulting(whole(0), 0),
  dtype: defaulting(oneOf('auto', 'bf16', 'f16', 'f32'), 'auto'),
  target: oneOf('auto', ...TARGETS),
  trainPlan: object<Partial<TrainPlan>>(
    {
      tau: defaulting(real(0, 1), 0.1),
      lambdaLoadBalance: defaulting(real(0), 1e-2),
      lambdaZ: defaulting(real(0), 1e-3),
      learningRate: defaulting(real(0), 2e-5),
      warmup: defaulting(real(0, 1), 0.02),
      schedule: defaulting(oneOf('linear'), 'linear'),
    },
    'trainPlan',
  ),
  ratio: defaulting(real(0, 1), 0.5),
  sigma: defaulting(real(0), 0.02),
  permute: defaulting(truth, true),
  granularity: whole(1, MOST_EXPERTS),
} as const satisfies Schema<GrowRecipe>;

const job = {
  ...growRecipe,
  gguf: truth,
  maxShardBytes: defaulting(real(1), 5e9),
  lanes,
  verify: defaulting(either(truth, words), true),
  wasmLocation: place,
};

const OUTPUT = ['writeBytes', 'files', 'commit', 'release'] as const;
const output = either(
  folder,
  like<OutputFolder>('an output, such as memoryOutput() gives', (value) =>
    OUTPUT.every((name) => typeof (value as unknown as Record<string, unknown>)[name] === 'function'),
  ),
);

/** Of `espalier/grow`. */
export const planGrowOptions = { ...job, ...filesOptions, out: output } as const satisfies Schema<
  PlanGrowOptions & { readonly out?: GrowOptions['out'] }
>;
export const growOptions = {
  ...planGrowOptions,
  restart: truth,
  onProgress: callback,
} as const satisfies Schema<GrowOptions>;

const there = {
  ...job,
  ...filesOptions,
  out: {
    ...folder,
    check: (value: unknown, name: string): string | URL => {
      const elsewhere = 'a path, or a file URL; grow of espalier/grow writes to any output, in your own thread';
      if (typeof value === 'object' && !(value instanceof URL)) throw refusal(name, value, elsewhere);
      return folder.check(value, name);
    },
  },
  cache: either(words, nothing),
  transfer: truth,
  workerLocation: place,
  laneLocation: place,
};

/** Of `espalier`, where a worker does it. */
export const planThereOptions = there as Schema<PlanThere>;
export const growThereOptions = { ...there, restart: truth, onProgress: callback } as Schema<GrowThere>;
