import { GROUP_SCORES, type MoeConfig, type RouterRule, SCORES } from '../experts.ts';
import type { ConfigKeys } from './keys.ts';

/** Softmax over all experts, then the largest: what most architectures do. */
export const SOFTMAX: RouterRule = {
  score: 'softmax',
  renormalise: false,
  scale: 1,
  groups: 1,
  topGroups: 1,
  groupScore: 'max',
  selectionBias: false,
};

/** The number of experts under two names: the class's own, and an alias that goes before it, since it is set after it. */
export function expertCount(keys: ConfigKeys, own: string, alias: string, fallback: number): number {
  return keys.has(alias) ? keys.whole(alias, fallback) : keys.whole(own, fallback);
}

/** `espalier_moe`: nothing about the experts is left to a default that another program may not share. */
export function ownMixture(keys: ConfigKeys): MoeConfig {
  const need = (key: string): number => {
    if (!keys.has(key)) throw keys.fault(key, 'is missing');
    return keys.whole(key, 0);
  };
  const layers = keys.wholes('moe_layers');
  if (!layers?.length) throw keys.fault('moe_layers', 'names no layer');
  const groups = keys.whole('n_group', 1);
  return {
    layers,
    experts: need('num_experts'),
    topK: need('num_experts_per_tok'),
    expertSize: need('moe_intermediate_size'),
    sharedSize: keys.whole('shared_expert_intermediate_size', 0),
    sharedGate: keys.flag('shared_expert_gate', false),
    router: {
      score: keys.choice('scoring_func', SCORES, 'softmax'),
      renormalise: keys.flag('norm_topk_prob', false),
      scale: keys.number('routed_scaling_factor', 1),
      groups,
      topGroups: keys.whole('topk_group', groups),
      groupScore: keys.choice('group_score', GROUP_SCORES, 'max'),
      selectionBias: keys.flag('selection_bias', false),
    },
  };
}

/** The layers that Qwen's classes give experts. */
export function sparseLayers(keys: ConfigKeys, experts: number, every: readonly number[]): readonly number[] {
  const step = keys.whole('decoder_sparse_step', 1);
  if (step < 1) throw keys.fault('decoder_sparse_step', `is ${step}`);
  const dense = new Set(keys.wholes('mlp_only_layers') ?? []);
  if (experts <= 0) return [];
  return every.filter((layer) => !dense.has(layer) && (layer + 1) % step === 0);
}

export function someLayers(moe: MoeConfig): MoeConfig | null {
  return moe.layers.length > 0 ? moe : null;
}
