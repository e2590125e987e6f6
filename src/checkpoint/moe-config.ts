import * as v from 'valibot';
import { configInvalid, MAX_LAYERS } from './limits.ts';
import type { Architecture, MoeConfig, RouterRule } from './types.ts';

const count = v.pipe(v.number(), v.integer());
const maybe = v.nullish(count);

/** The fields of config.json that tell of experts, of all architectures together. */
const MoeSchema = v.looseObject({
  num_experts: maybe,
  num_local_experts: maybe,
  num_experts_per_tok: maybe,
  moe_intermediate_size: maybe,
  shared_expert_intermediate_size: maybe,
  shared_intermediate_size: maybe,
  decoder_sparse_step: v.optional(count, 1),
  mlp_only_layers: v.nullish(v.array(count)),
  norm_topk_prob: v.optional(v.boolean(), false),
  // our own
  moe_layers: v.optional(v.array(count)),
  scoring_func: v.optional(v.picklist(['softmax', 'selected-softmax', 'sigmoid']), 'softmax'),
  routed_scaling_factor: v.optional(v.number(), 1),
  n_group: v.optional(count, 1),
  topk_group: v.optional(count),
  group_score: v.optional(v.picklist(['max', 'top2']), 'max'),
  selection_bias: v.optional(v.boolean(), false),
  shared_expert_gate: v.optional(v.boolean(), false),
});

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
  raw: Readonly<Record<string, unknown>>,
  architecture: Architecture,
  nLayers: number,
  intermediateSize: number,
  name: string,
): MoeConfig | null {
  if (['llama', 'mistral', 'qwen2', 'qwen3'].includes(architecture)) return null;
  const result = v.safeParse(MoeSchema, raw, { abortEarly: true });
  if (!result.success) {
    const issue = result.issues[0];
    throw configInvalid(name, `${v.getDotPath(issue) ?? 'it'}: ${issue.message.slice(0, 200)}`);
  }
  if (!(nLayers >= 1 && nLayers <= MAX_LAYERS)) throw configInvalid(name, `it has ${nLayers} layers`);
  const parsed = result.output;
  const every = Array.from({ length: nLayers }, (_, i) => i);
  const common = { layers: every, sharedSize: 0, sharedGate: false, router: SOFTMAX };
  switch (architecture) {
    case 'granitemoeshared':
      return {
        ...common,
        experts: parsed.num_local_experts ?? 8,
        topK: parsed.num_experts_per_tok ?? 2,
        expertSize: intermediateSize,
        sharedSize: parsed.shared_intermediate_size ?? 0,
        router: { ...SOFTMAX, score: 'selected-softmax' },
      };
    case 'mixtral':
      return {
        ...common,
        experts: parsed.num_local_experts ?? parsed.num_experts ?? 8,
        topK: parsed.num_experts_per_tok ?? 2,
        expertSize: intermediateSize,
        router: { ...SOFTMAX, renormalise: true },
      };
    case 'qwen2_moe': {
      const sharedSize = parsed.shared_expert_intermediate_size ?? 5632;
      return someLayers({
        ...common,
        layers: sparseLayers(parsed, every, name),
        experts: parsed.num_experts ?? 60,
        topK: parsed.num_experts_per_tok ?? 4,
        expertSize: parsed.moe_intermediate_size ?? 1408,
        sharedSize,
        sharedGate: sharedSize > 0,
        router: { ...SOFTMAX, renormalise: parsed.norm_topk_prob },
      });
    }
    case 'qwen3_moe':
      return someLayers({
        ...common,
        layers: sparseLayers(parsed, every, name),
        experts: parsed.num_experts ?? parsed.num_local_experts ?? 128,
        topK: parsed.num_experts_per_tok ?? 8,
        expertSize: parsed.moe_intermediate_size ?? 768,
        router: { ...SOFTMAX, renormalise: parsed.norm_topk_prob },
      });
    default:
      return ownMixture(parsed, name);
  }
}

type Parsed = v.InferOutput<typeof MoeSchema>;

/** `espalier_moe`: nothing about the experts is left to a default that another program may not share. */
function ownMixture(parsed: Parsed, name: string): MoeConfig {
  const need = (key: 'num_experts' | 'num_experts_per_tok' | 'moe_intermediate_size'): number => {
    const value = parsed[key];
    if (value === undefined || value === null) throw configInvalid(name, `${key} is missing`);
    return value;
  };
  if (!parsed.moe_layers?.length) throw configInvalid(name, 'moe_layers names no layer');
  return {
    layers: parsed.moe_layers,
    experts: need('num_experts'),
    topK: need('num_experts_per_tok'),
    expertSize: need('moe_intermediate_size'),
    sharedSize: parsed.shared_expert_intermediate_size ?? 0,
    sharedGate: parsed.shared_expert_gate,
    router: {
      score: parsed.scoring_func,
      renormalise: parsed.norm_topk_prob,
      scale: parsed.routed_scaling_factor,
      groups: parsed.n_group,
      topGroups: parsed.topk_group ?? parsed.n_group,
      groupScore: parsed.group_score,
      selectionBias: parsed.selection_bias,
    },
  };
}

/** The layers that Qwen's classes give experts. */
function sparseLayers(parsed: Parsed, every: readonly number[], name: string): readonly number[] {
  const { decoder_sparse_step: step, num_experts: experts } = parsed;
  if (step < 1) throw configInvalid(name, `decoder_sparse_step is ${step}`);
  if (experts === 0) return [];
  const dense = new Set(parsed.mlp_only_layers ?? []);
  return every.filter((layer) => !dense.has(layer) && (layer + 1) % step === 0);
}

function someLayers(moe: MoeConfig): MoeConfig | null {
  return moe.layers.length > 0 ? moe : null;
}
