import { checked } from '../../options/check.ts';
import { targetOf } from '../targets/targets.ts';
import { type GrowPlan, PROJECTIONS } from '../types.ts';
import { type GrowRecipe, growRecipe } from './options.ts';
import { checkPlan, idle, isCorrection, refused } from './rules.ts';

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
  const without = target !== 'auto' && targetOf(target).shared === 'never';
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
