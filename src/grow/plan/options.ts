/** What a dense model is grown into: the recipe and its rules. */
import { EspalierError } from '../../errors.ts';
import { object } from '../../options/check.ts';
import {
  defaulting,
  either,
  isOptions,
  listOf,
  oneOf,
  type Rule,
  real,
  refusal,
  type Schema,
  truth,
  whole,
} from '../../options/rules.ts';
import { TARGET_NAMES } from '../targets/names.ts';
import {
  type GrowPlan,
  type LayerChoice,
  METHODS,
  type Method,
  type Noise,
  type OutputType,
  PARTITIONS,
  type Partition,
  PROJECTIONS,
  type Projection,
  type RouterInit,
  type TargetName,
  type TrainPlan,
} from '../types.ts';

/** What a dense model is grown into. Every field has a default; figures and letters refer to the SPRI paper (arXiv 2606.16456). */
export interface GrowRecipe {
  /** `paper`: all of the paper's values. `gguf-safe`: what llama.cpp computes alike after a conversion. */
  readonly preset?: 'paper' | 'gguf-safe';
  /** Default spri; the others are its baselines and controls. */
  readonly method?: Method;
  /**
   * How baselines are scaled. `as-published`, the default: copies of full size beside a shared expert of full size give twice the dense
   * output. `function-preserving`: the grown model starts as the dense one, to rounding, because each branch gets its share: naive and
   * virtual-group, and noise and drop where they change nothing; it is refused for what no scale can preserve. `scaled`: each
   * branch gets that share although noise and drop change what it scales, so that the output has the size of the dense one and no more. spri, scaled-copy and
   * zero-delta start as the dense model to a part of rho with the anchors shared and folded, whatever this says.
   */
  readonly preserve?: GrowPlan['preserve'];
  /** Routed experts E, 2 to 1024. Default 8. */
  readonly experts?: number;
  /** Experts k that a token uses. Default 2. */
  readonly topK?: number;
  readonly allowConstantGate?: boolean;
  /** Experts that share a block of singular components; the last group may be smaller. Default: topK. */
  readonly groupSize?: number;
  /** Zero-based layers, or a rule: `interval` s takes those with (l + 1) % s == 0. Default `auto`: all layers; `paper`: every fourth. */
  readonly layers?: LayerChoice | 'auto';
  /** How singular components, largest first, go to groups. Default contiguous: blocks of equal count. */
  readonly partition?: Partition;
  readonly shuffle?: boolean;
  /**
   * Projections that get corrections. Default down; gate is the paper's best single one, and it tried no several. Of n together each gets the
   * n-th root of rho, because they multiply (folded: rho / sqrt n, because they add).
   */
  readonly placement?: readonly Projection[];
  /** Where the dense feed-forward stays. Default shared: an expert for every token; folded where the target has none. */
  readonly anchor?: GrowPlan['anchor'];
  /** Size of the corrections: ||alpha R|| / ||W|| of the one that is placed. Default 1e-3; 1e-2 where `gguf-safe` folds. */
  readonly rho?: number;
  /** Added to ||R|| in the divisor of alpha. Default 1e-12. */
  readonly delta?: number;
  /** alpha: `group` rho ||W|| / ||R_g||, the default; `global` rho; `spectral` rho s_1 / s of the block; `none` 1. */
  readonly normalise?: GrowPlan['normalise'];
  /**
   * Tells apart the experts of a group. Default relative 0.44: ||noise|| / ||alpha R||, the size that the paper's diversity implies.
   * zero-delta: default none; relative to rho ||W|| (of several placed projections to its root, see `placement`).
   */
  readonly noise?: Noise;
  /** Noise for groups of one expert too. Default false; `paper`: true. */
  readonly noiseAll?: boolean;
  /** Default normal with standard deviation 0.02. */
  readonly router?: RouterInit;
  /** 0 to 2^53 - 1. Default 0. */
  readonly seed?: number;
  readonly dtype?: 'auto' | OutputType;
  readonly target?: TargetName | 'auto';
  readonly trainPlan?: Partial<TrainPlan>;
  /** noise, drop: share of the neurons that change. Default 0.5. */
  readonly ratio?: number;
  /** noise: standard deviation. Default 0.02. */
  readonly sigma?: number;
  /** noise, drop: as the released code has it, neurons in another order in each expert and chosen anew for each matrix. Default true. */
  readonly permute?: boolean;
  /** virtual-group: shards that the feed-forward is cut into. Default: topK. */
  readonly granularity?: number;
}

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
  preserve: defaulting(oneOf('as-published', 'function-preserving', 'scaled'), 'as-published'),
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
  target: oneOf('auto', ...TARGET_NAMES),
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
