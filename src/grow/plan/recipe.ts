import { checked } from '../../options/check.ts';
import { growRecipe } from '../../options/grow.ts';
import {
  type GrowPlan,
  type LayerChoice,
  type Method,
  type Noise,
  type OutputType,
  type Partition,
  PROJECTIONS,
  type Projection,
  type RouterInit,
  type TargetName,
  type TrainPlan,
} from '../types.ts';
import { checkPlan, idle, isCorrection, refused } from './rules.ts';

/** What a dense model is grown into. Every field has a default; figures and letters refer to the SPRI paper (arXiv 2606.16456). */
export interface GrowRecipe {
  /** `paper`: all of the paper's values. `gguf-safe`: what llama.cpp computes alike after a conversion. */
  readonly preset?: 'paper' | 'gguf-safe';
  /** Default spri; the others are its baselines and controls. */
  readonly method?: Method;
  /**
   * How baselines are scaled. `as-published`, the default: copies of full size beside a shared expert of full size give twice the dense
   * output. `function-preserving`: the grown model starts as the dense one, to rounding, because each branch gets its share: naive and
   * virtual-group, and noise and drop where they change nothing; it is refused for what no scale can preserve. spri, scaled-copy and
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

/** Targets without a shared expert. */
const FOLDED_TARGETS: readonly (TargetName | 'auto')[] = ['mixtral', 'qwen3_moe'];

/**
 * Options with preset and defaults filled in, checked as far as that needs no model.
 * @throws E_ARGUMENT naming the field and what it takes, or why fields contradict each other, or why one would do nothing
 */
export function resolveOptions(given: GrowRecipe = {}): GrowPlan {
  const options = checked<GrowRecipe>(growRecipe, given, 'growing');
  const plan = filled(options);
  checkPlan(plan);
  for (const name of Object.keys(plan) as (keyof GrowPlan)[]) {
    const why = options[name] === undefined ? null : idle(name, plan);
    const { [name]: _, ...rest } = options;
    if (why !== null && !same(plan[name], filled(rest)[name]))
      throw refused(`${name} is given in vain: it ${why}.`, 'Leave it out.');
  }
  return plan;
}

/** Preset and defaults in the gaps. */
function filled(options: GrowRecipe): GrowPlan {
  const paper = options.preset === 'paper';
  const ggufSafe = options.preset === 'gguf-safe';
  const method = options.method ?? growRecipe.method.default;
  const experts = options.experts ?? growRecipe.experts.default;
  const topK = options.topK ?? growRecipe.topK.default;
  const target = options.target ?? (paper ? 'espalier' : ggufSafe ? 'granitemoeshared' : 'auto');
  const without = FOLDED_TARGETS.includes(target);
  const anchor = options.anchor ?? (without ? (isCorrection(method) ? 'folded' : 'none') : 'shared');
  return {
    method,
    preserve: options.preserve ?? growRecipe.preserve.default,
    experts,
    topK,
    allowConstantGate: options.allowConstantGate ?? growRecipe.allowConstantGate.default,
    groupSize: options.groupSize ?? topK,
    layers: options.layers ?? (paper ? { interval: 4 } : ggufSafe ? { interval: 1 } : 'auto'),
    partition: options.partition ?? growRecipe.partition.default,
    shuffle: options.shuffle ?? growRecipe.shuffle.default,
    placement: PROJECTIONS.filter((name) => (options.placement ?? ['down']).includes(name)),
    anchor,
    rho: options.rho ?? (ggufSafe && anchor === 'folded' ? 1e-2 : 1e-3),
    delta: options.delta ?? growRecipe.delta.default,
    normalise: options.normalise ?? growRecipe.normalise.default,
    noise: options.noise ?? (method === 'zero-delta' ? { kind: 'none' } : { kind: 'relative', ratio: 0.44 }),
    noiseAll: options.noiseAll ?? (paper && method === 'spri'),
    router: options.router ?? { kind: 'normal', std: 0.02 },
    seed: options.seed ?? growRecipe.seed.default,
    dtype: options.dtype ?? growRecipe.dtype.default,
    target,
    trainPlan: {
      tau: options.trainPlan?.tau ?? 0.1,
      lambdaLoadBalance: options.trainPlan?.lambdaLoadBalance ?? 1e-2,
      lambdaZ: options.trainPlan?.lambdaZ ?? 1e-3,
      learningRate: options.trainPlan?.learningRate ?? 2e-5,
      warmup: options.trainPlan?.warmup ?? 0.02,
      schedule: 'linear',
    },
    ratio: options.ratio ?? growRecipe.ratio.default,
    sigma: options.sigma ?? growRecipe.sigma.default,
    permute: options.permute ?? growRecipe.permute.default,
    granularity: options.granularity ?? (experts % topK === 0 ? topK : 1),
  };
}

function same(x: unknown, y: unknown): boolean {
  return JSON.stringify(x) === JSON.stringify(y);
}

/**
 * The controls that tell the effect of the spectral partition from that of small norms, beside the method itself: a copy of the same size,
 * normal numbers of the same size, nothing, blocks of a random orthogonal basis, and blocks in a random order of groups. What else `options`
 * says applies to all.
 * @throws as `resolveOptions`
 */
export function controlPlans(options: GrowRecipe = {}): { readonly name: string; readonly options: GrowRecipe }[] {
  const { preset: _, ...common } = options;
  const controls: readonly (readonly [string, GrowRecipe])[] = [
    ['spri', { method: 'spri' }],
    ['scaled-copy', { method: 'scaled-copy' }],
    ['gaussian', { method: 'zero-delta', noise: { kind: 'relative', ratio: 1 } }],
    ['zero-delta', { method: 'zero-delta', noise: { kind: 'none' } }],
    ['random-orthogonal', { method: 'spri', partition: 'random-orthogonal' }],
    ['shuffled', { method: 'spri', shuffle: true }],
  ];
  return controls.map(([name, own]) => {
    const fixed = resolveOptions(own);
    // what says nothing of a control is of the others
    const fitting = Object.entries(common).filter(([field]) => idle(field as keyof GrowPlan, fixed) === null);
    const plan: GrowRecipe = { ...Object.fromEntries(fitting), ...own };
    resolveOptions(plan);
    return { name, options: plan };
  });
}
