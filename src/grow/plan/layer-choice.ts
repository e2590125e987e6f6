import type { GrowPlan, LayerChoice, Method } from '../types.ts';
import type { ExpertSizes } from '../write/output-config.ts';
import { refused } from './rules.ts';

/** Consecutive experts that share a block: group g has those from bounds[g] to bounds[g + 1] - 1; the last may have fewer. */
export function groupsOf(experts: number, groupSize: number): number[] {
  const groups = Math.ceil(experts / groupSize);
  return Array.from({ length: groups + 1 }, (_, g) => Math.min(experts, g * groupSize));
}

/**
 * Zero-based layers, ascending.
 * @throws E_ARGUMENT for layers that the model has not, and for a rule that takes none
 */
export function chosenLayers(choice: LayerChoice | 'auto', nLayers: number): number[] {
  const all = Array.from({ length: nLayers }, (_, layer) => layer);
  if (choice === 'auto') return all;
  if ('interval' in choice) {
    const layers = all.filter((layer) => (layer + 1) % choice.interval === 0);
    if (layers.length > 0) return layers;
    throw refused(`An interval of ${choice.interval} takes none of ${nLayers} layers.`, `It takes 1 to ${nLayers}.`);
  }
  const some = (count: number, list: number[]): number[] => {
    if (count <= nLayers) return list;
    throw refused(`${count} layers are chosen of ${nLayers}.`, `It takes 1 to ${nLayers}.`);
  };
  if ('first' in choice) return some(choice.first, all.slice(0, choice.first));
  if ('last' in choice) return some(choice.last, all.slice(nLayers - choice.last));
  choice satisfies readonly number[];
  const list = [...choice].sort((a, b) => a - b);
  if (list.at(-1)! >= nLayers) throw refused(`Layer ${list.at(-1)} is chosen of ${nLayers}.`, 'The first layer is 0.');
  return list;
}

/** Shards that a method cuts a feed-forward into. */
const SHARDS: Readonly<Record<Method, (plan: GrowPlan) => number>> = {
  spri: () => 1,
  naive: () => 1,
  noise: () => 1,
  drop: () => 1,
  'virtual-group': ({ granularity }) => granularity,
  split: ({ experts }) => experts,
  'scaled-copy': () => 1,
  'zero-delta': () => 1,
};

/** @throws E_ARGUMENT where the feed-forward does not divide into the method's shards */
export function expertSizes(plan: GrowPlan, intermediate: number): ExpertSizes {
  const { method, anchor } = plan;
  const shards = SHARDS[method](plan);
  if (intermediate % shards !== 0) {
    throw refused(
      `${method} cuts ${intermediate} neurons into ${shards} shards, which does not divide.`,
      `Use ${method === 'split' ? 'a number of experts' : 'a granularity'} that divides ${intermediate}.`,
    );
  }
  return {
    experts: plan.experts + (anchor === 'routed' ? 1 : 0),
    expertSize: intermediate / shards,
    sharedSize: anchor === 'shared' ? intermediate : 0,
  };
}
