import { EspalierError } from '../../errors.ts';
import { cubeRoot } from '../methods/roots.ts';
import type { GrowPlan, Method } from '../types.ts';

/** Whether the routed experts of a method are corrections of the dense weights. */
const CORRECTIONS: Readonly<Record<Method, boolean>> = {
  spri: true,
  naive: false,
  noise: false,
  drop: false,
  'virtual-group': false,
  split: false,
  'scaled-copy': true,
  'zero-delta': true,
};

export const isCorrection = (method: Method): boolean => CORRECTIONS[method];

/**
 * Size of the correction of each placed projection, relative to its matrix, such that the layer's change is about rho.
 *
 * Beside the dense weights an expert's output has its projections as factors (down and up are linear, silu(z) is nearly z / 2 for small z), so
 * n of them get the n-th root of rho; corrections that are folded into the weights add up instead, at right angles, and get rho / sqrt n.
 */
export function rhoOf({ rho, placement, anchor }: GrowPlan): number {
  const n = placement.length;
  if (n === 1 || rho === 0) return rho;
  if (anchor === 'folded') return rho / Math.sqrt(n);
  return n === 2 ? Math.sqrt(rho) : cubeRoot(rho);
}

/** What an option needs to have an effect; null: it has one. */
type Needs = (plan: GrowPlan) => string | null;

const only =
  (...methods: Method[]): Needs =>
  ({ method }) =>
    methods.includes(method) ? null : `is of ${methods.join(' and ')}, and the method is ${method}`;
const corrections = only('spri', 'scaled-copy', 'zero-delta');

/** When an option that is not at its default would do nothing. Those that are not here act always. */
const EFFECT: Partial<Record<keyof GrowPlan, Needs>> = {
  groupSize: only('spri'),
  partition: only('spri'),
  normalise: only('spri'),
  shuffle: (plan) =>
    only('spri')(plan) ?? (plan.partition === 'none' ? "orders blocks, and the partition 'none' has none" : null),
  delta: (plan) =>
    only('spri')(plan) ??
    (plan.normalise === 'group' ? null : `belongs to normalise 'group', and normalise is '${plan.normalise}'`),
  placement: corrections,
  rho: (plan) =>
    corrections(plan) ??
    (plan.normalise === 'none'
      ? "has no effect with normalise 'none', which leaves corrections as large as they are"
      : plan.method === 'zero-delta' && plan.noise.kind !== 'relative'
        ? `has no effect on zero-delta with noise of the kind '${plan.noise.kind}'`
        : null),
  noise: corrections,
  noiseAll: only('spri'),
  ratio: only('noise', 'drop'),
  sigma: only('noise'),
  permute: only('noise', 'drop'),
  granularity: only('virtual-group'),
};

/** Whether an option does anything under a plan; else why not, to stand behind its name. */
export function idle(name: keyof GrowPlan, plan: GrowPlan): string | null {
  return EFFECT[name]?.(plan) ?? null;
}

/** @throws E_ARGUMENT for fields that contradict each other */
export function checkPlan(plan: GrowPlan): void {
  const { method, experts, topK, groupSize, anchor, granularity } = plan;
  const chosen = experts + (anchor === 'routed' ? 1 : 0);
  if (topK > chosen) throw refused(`topK is ${topK} of ${chosen} experts.`, 'It takes at most the number of experts.');
  if (groupSize > experts) {
    throw refused(`groupSize is ${groupSize} of ${experts} experts.`, 'It takes at most the number of experts.');
  }
  if (topK === 1 && !plan.allowConstantGate) {
    throw refused(
      'topK is 1, and the weights of the chosen experts sum to 1: the one weight is then constant, and the router gets no gradient from the loss.',
      'Use a topK of at least 2, or `allowConstantGate`.',
    );
  }
  if (method === 'spri' && plan.partition === 'random-orthogonal' && plan.normalise === 'spectral') {
    throw refused(
      "normalise is 'spectral', and a random orthogonal partition has no singular values.",
      "Use 'group', 'global' or 'none'.",
    );
  }
  if (anchor === 'folded' && !isCorrection(method)) {
    throw refused(
      `anchor is 'folded', which adds corrections to the dense weights, and ${method} makes none.`,
      'Use `anchor: none`, or `anchor: shared`.',
    );
  }
  if (anchor === 'routed' && (method === 'virtual-group' || method === 'split')) {
    throw refused(
      `anchor is 'routed', and the experts of ${method} are smaller than the dense one.`,
      'Use `anchor: none`, or `anchor: shared`.',
    );
  }
  if (method === 'virtual-group' && experts % granularity !== 0) {
    throw refused(
      `granularity is ${granularity} for ${experts} experts.`,
      'It takes divisors of the number of experts.',
    );
  }
  checkGradient(plan);
  if (plan.preserve === 'function-preserving') checkPreserved(plan);
  if (plan.preserve === 'scaled' && (isCorrection(plan.method) || plan.method === 'split')) {
    throw refused(
      `preserve is 'scaled', and nothing of ${plan.method} is.`,
      "It takes the methods 'naive', 'noise', 'drop' and 'virtual-group'.",
    );
  }
}

/** Zeros in two projections keep each other's gradient at zero. Folded in, they are the dense weights. */
function checkGradient({ method, placement, anchor, rho, noise, normalise }: GrowPlan): void {
  if (!isCorrection(method) || placement.length === 1 || anchor === 'folded') return;
  const silent = noise.kind === 'none' || (noise.kind === 'relative' && (noise.ratio === 0 || rho === 0));
  if (silent && (method === 'zero-delta' || (rho === 0 && normalise !== 'none'))) {
    throw refused(
      `${placement.join(' and ')} of the experts would all be zeros, and none of them would ever get a gradient.`,
      'Place one projection (`placement`), or give a `rho` or a `noise` above 0.',
    );
  }
}

/**
 * Where the grown model starts as the dense one: what a method cannot is refused, for a scale would not do it.
 *
 * naive: any router's weights sum to 1 over equal experts, beside a shared one with half of each. virtual-group: the shards of one copy are
 * chosen together, with equal weights. Corrections: the dense weights are computed in any case, and what is added is of size rho.
 */
function checkPreserved(plan: GrowPlan): void {
  const { method, topK, anchor, granularity, normalise } = plan;
  const not = (why: string, hint: string): EspalierError =>
    refused(`preserve is 'function-preserving', and ${why}.`, hint);
  switch (method) {
    case 'naive':
      return;
    case 'virtual-group':
      if (topK % granularity === 0) return;
      throw not(
        `with granularity ${granularity} and topK ${topK} a token would use a part of a copy`,
        'To preserve the function, topK must be a multiple of the granularity.',
      );
    case 'noise':
      if (plan.sigma === 0 || plan.ratio === 0) return;
      throw not('the numbers that noise adds change the function', 'Use `preserve: as-published`, or `sigma: 0`.');
    case 'drop':
      if (plan.ratio === 0) return;
      throw not(
        'neurons that drop draws anew change the function, whatever the scale',
        'Use `preserve: as-published`, `ratio: 0`, or `method: naive`.',
      );
    case 'split':
      throw not(
        'a token of split uses some neurons and not the others, whatever the scale',
        'Use `preserve: as-published`, or `method: virtual-group`, which preserves it.',
      );
    case 'spri':
    case 'scaled-copy':
    case 'zero-delta':
      if (anchor === 'routed' || anchor === 'none') {
        throw not(
          `with the anchor '${anchor}' ${anchor === 'none' ? 'the dense weights are nowhere' : 'most tokens miss the dense expert'}`,
          'Use `anchor: shared` or `anchor: folded`.',
        );
      }
      if (method === 'spri' && normalise === 'none') {
        throw not("normalise 'none' makes corrections as large as the weights", 'Use another rule for `normalise`.');
      }
      return;
    default:
      method satisfies never;
  }
}

export function refused(message: string, hint: string): EspalierError {
  return new EspalierError('E_ARGUMENT', message, hint);
}
