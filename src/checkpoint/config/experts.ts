import type { Architecture, MoeConfig, RouterRule } from '../types.ts';
import type { ConfigKeys } from './keys.ts';

/** Softmax over all experts, then the largest: what most architectures do. */
const SOFTMAX: RouterRule = {
  score: 'softmax',
  renormalise: false,
  scale: 1,
  groups: 1,
  topGroups: 1,
  groupScore: 'max',
  selectionBias: false,
};

/**
 * The mixture of experts that config.json tells of, with the defaults of transformers; null where no layer has experts. Of the
 * values only types are checked, and what this function itself counts with: `checkConfig` does the rest.
 *
 * @param intermediateSize of the configuration, which some architectures use for their experts
 * @throws E_CONFIG_INVALID
 */
export function moeFromConfig(
  keys: ConfigKeys,
  architecture: Architecture,
  nLayers: number,
  intermediateSize: number,
): MoeConfig | null {
  const every = Array.from({ length: nLayers }, (_, i) => i);
  const common = { layers: every, sharedSize: 0, sharedGate: false, router: SOFTMAX };
  switch (architecture) {
    case 'llama':
    case 'mistral':
    case 'qwen2':
    case 'qwen3':
      return null;
    case 'granitemoeshared':
      return {
        ...common,
        experts: keys.whole('num_local_experts', 8),
        topK: keys.whole('num_experts_per_tok', 2),
        expertSize: intermediateSize,
        sharedSize: keys.whole('shared_intermediate_size', 0),
        router: { ...SOFTMAX, score: 'selected-softmax' },
      };
    case 'mixtral':
      return {
        ...common,
        experts: count(keys, 'num_local_experts', 'num_experts', 8),
        topK: keys.whole('num_experts_per_tok', 2),
        expertSize: intermediateSize,
        router: { ...SOFTMAX, renormalise: true },
      };
    case 'qwen2_moe': {
      const sharedSize = keys.whole('shared_expert_intermediate_size', 5632);
      const experts = keys.whole('num_experts', 60);
      return someLayers({
        ...common,
        layers: sparseLayers(keys, experts, every),
        experts,
        topK: keys.whole('num_experts_per_tok', 4),
        expertSize: keys.whole('moe_intermediate_size', 1408),
        sharedSize,
        sharedGate: sharedSize > 0,
        router: { ...SOFTMAX, renormalise: keys.flag('norm_topk_prob', false) },
      });
    }
    case 'qwen3_moe': {
      const experts = count(keys, 'num_experts', 'num_local_experts', 128);
      return someLayers({
        ...common,
        layers: sparseLayers(keys, experts, every),
        experts,
        topK: keys.whole('num_experts_per_tok', 8),
        expertSize: keys.whole('moe_intermediate_size', 768),
        router: { ...SOFTMAX, renormalise: keys.flag('norm_topk_prob', false) },
      });
    }
    case 'espalier_moe':
      return ownMixture(keys);
    default:
      return architecture satisfies never;
  }
}

/** The number of experts under two names: the class's own, and an alias that goes before it, since it is set after it. */
function count(keys: ConfigKeys, own: string, alias: string, fallback: number): number {
  return keys.has(alias) ? keys.whole(alias, fallback) : keys.whole(own, fallback);
}

/** `espalier_moe`: nothing about the experts is left to a default that another program may not share. */
function ownMixture(keys: ConfigKeys): MoeConfig {
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
      score: keys.choice('scoring_func', ['softmax', 'selected-softmax', 'sigmoid'], 'softmax'),
      renormalise: keys.flag('norm_topk_prob', false),
      scale: keys.number('routed_scaling_factor', 1),
      groups,
      topGroups: keys.whole('topk_group', groups),
      groupScore: keys.choice('group_score', ['max', 'top2'], 'max'),
      selectionBias: keys.flag('selection_bias', false),
    },
  };
}

/** The layers that Qwen's classes give experts. */
function sparseLayers(keys: ConfigKeys, experts: number, every: readonly number[]): readonly number[] {
  const step = keys.whole('decoder_sparse_step', 1);
  if (step < 1) throw keys.fault('decoder_sparse_step', `is ${step}`);
  const dense = new Set(keys.wholes('mlp_only_layers') ?? []);
  if (experts <= 0) return [];
  return every.filter((layer) => !dense.has(layer) && (layer + 1) % step === 0);
}

function someLayers(moe: MoeConfig): MoeConfig | null {
  return moe.layers.length > 0 ? moe : null;
}
