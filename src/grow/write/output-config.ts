import type { ModelConfig, RopeScaling } from '../../checkpoint/types.ts';
import type { Fit } from '../plan/targets.ts';
import type { GrowPlan, TargetName } from '../types.ts';

type Json = Readonly<Record<string, unknown>>;

/** Sizes of what is grown. */
export interface ExpertSizes {
  /** Routed experts of a layer. */
  readonly experts: number;
  /** Inner size of a routed expert, and of the shared one; 0: there is none. */
  readonly expertSize: number;
  readonly sharedSize: number;
}

const CLASSES: Readonly<Record<TargetName, string>> = {
  granitemoeshared: 'GraniteMoeSharedForCausalLM',
  mixtral: 'MixtralForCausalLM',
  qwen2_moe: 'Qwen2MoeForCausalLM',
  qwen3_moe: 'Qwen3MoeForCausalLM',
  espalier: 'EspalierMoeForCausalLM',
};

/** config.json of the grown model, with the names of transformers 4, which 5 reads too. */
export function outputConfig(config: ModelConfig, fit: Fit, plan: GrowPlan, sizes: ExpertSizes): Json {
  return { ...common(config, fit, sizes), ...OWN[fit.target](config, fit, plan, sizes) };
}

/** Its text. transformers 5 refuses whole numbers where it wants others, and JSON.stringify writes 1.0 as 1. */
export function configText(json: Json): string {
  const text = JSON.stringify(json, null, 2);
  return `${text.replace(/^( *"(?:rms_norm_eps|router_aux_loss_coef|rope_theta|factor)": )(-?\d+)(,?)$/gm, '$1$2.0$3')}\n`;
}

function common(config: ModelConfig, fit: Fit, { expertSize }: ExpertSizes): Json {
  const scaling = scalingOf(config.rope.scaling);
  const { eosIds } = config;
  return {
    architectures: [CLASSES[fit.target]],
    model_type: fit.target,
    vocab_size: config.vocabSize,
    hidden_size: config.hiddenSize,
    // of an expert where the family has no other word for it
    intermediate_size:
      fit.target === 'granitemoeshared' || fit.target === 'mixtral' ? expertSize : config.intermediateSize,
    num_hidden_layers: config.nLayers,
    num_attention_heads: config.nHeads,
    num_key_value_heads: config.nKvHeads,
    head_dim: config.headDim,
    hidden_act: 'silu',
    max_position_embeddings: config.maxPositions,
    rms_norm_eps: config.rmsNormEps,
    rope_theta: config.rope.theta,
    rope_scaling: scaling,
    tie_word_embeddings: config.tiedEmbeddings && !fit.untie,
    initializer_range: 0.02,
    bos_token_id: config.bosId,
    eos_token_id: eosIds.length === 0 ? null : eosIds.length === 1 ? eosIds[0] : eosIds,
    pad_token_id: config.padId,
    torch_dtype: { bf16: 'bfloat16', f16: 'float16', f32: 'float32' }[fit.type],
    use_cache: true,
  };
}

function scalingOf(scaling: RopeScaling): Json | null {
  switch (scaling.type) {
    case 'none':
      return null;
    case 'linear':
      return { rope_type: 'linear', factor: scaling.factor };
    case 'dynamic':
      return { rope_type: 'dynamic', factor: scaling.factor };
    case 'llama3':
      return {
        rope_type: 'llama3',
        factor: scaling.factor,
        low_freq_factor: scaling.lowFreqFactor,
        high_freq_factor: scaling.highFreqFactor,
        original_max_position_embeddings: scaling.originalMaxPositions,
      };
    case 'yarn':
      return {
        rope_type: 'yarn',
        factor: scaling.factor,
        original_max_position_embeddings: scaling.originalMaxPositions,
        beta_fast: scaling.betaFast,
        beta_slow: scaling.betaSlow,
        ...(scaling.attentionFactor === undefined ? {} : { attention_factor: scaling.attentionFactor }),
        truncate: scaling.truncate,
      };
    default:
      throw scaling satisfies never;
  }
}

function layerTypes({ nLayers, windowLayers }: ModelConfig): string[] {
  const windowed = new Set(windowLayers);
  return Array.from({ length: nLayers }, (_, i) => (windowed.has(i) ? 'sliding_attention' : 'full_attention'));
}

type Own = (config: ModelConfig, fit: Fit, plan: GrowPlan, sizes: ExpertSizes) => Json;

const OWN: Readonly<Record<TargetName, Own>> = {
  granitemoeshared: (config, _, plan, { experts, sharedSize }) => ({
    attention_bias: config.qkvBias,
    // Granite's factors, such that they do nothing
    attention_multiplier: 1 / Math.sqrt(config.headDim),
    embedding_multiplier: 1,
    residual_multiplier: 1,
    logits_scaling: 1,
    num_local_experts: experts,
    num_experts_per_tok: plan.topK,
    shared_intermediate_size: sharedSize,
    output_router_logits: false,
    router_aux_loss_coef: plan.trainPlan.lambdaLoadBalance,
  }),
  mixtral: (config, _, plan, { experts }) => ({
    sliding_window: config.slidingWindow,
    num_local_experts: experts,
    num_experts_per_tok: plan.topK,
    output_router_logits: false,
    router_aux_loss_coef: plan.trainPlan.lambdaLoadBalance,
  }),
  qwen2_moe: (config, fit, plan, { experts, expertSize, sharedSize }) => ({
    ...sparseLayers(config, fit),
    // always there: some loaders make room for them whatever the file says
    qkv_bias: true,
    use_sliding_window: false,
    num_experts: experts,
    num_experts_per_tok: plan.topK,
    moe_intermediate_size: expertSize,
    shared_expert_intermediate_size: sharedSize,
    norm_topk_prob: fit.renormalise,
    output_router_logits: false,
    router_aux_loss_coef: plan.trainPlan.lambdaLoadBalance,
  }),
  qwen3_moe: (config, fit, plan, { experts, expertSize }) => ({
    ...sparseLayers(config, fit),
    attention_bias: config.qkvBias,
    use_sliding_window: false,
    num_experts: experts,
    num_experts_per_tok: plan.topK,
    moe_intermediate_size: expertSize,
    norm_topk_prob: fit.renormalise,
    output_router_logits: false,
    router_aux_loss_coef: plan.trainPlan.lambdaLoadBalance,
  }),
  espalier: (config, fit, plan, { experts, expertSize, sharedSize }) => ({
    model_type: 'espalier_moe',
    base_model_type: config.architecture,
    attention_bias: config.qkvBias,
    use_sliding_window: config.slidingWindow !== null,
    sliding_window: config.slidingWindow,
    ...(config.slidingWindow === null ? {} : { layer_types: layerTypes(config) }),
    partial_rotary_factor: config.rope.rotaryDims / config.headDim,
    moe_layers: fit.layers,
    num_experts: experts,
    num_experts_per_tok: plan.topK,
    moe_intermediate_size: expertSize,
    shared_expert_intermediate_size: sharedSize,
    shared_expert_gate: false,
    scoring_func: 'softmax',
    norm_topk_prob: fit.renormalise,
  }),
};

/** The rule of the Qwen family: `l not in mlp_only_layers and (l + 1) % decoder_sparse_step == 0`. */
function sparseLayers({ nLayers }: ModelConfig, { layers }: Fit): Json {
  const step = layers[0]! + 1;
  const even = Array.from({ length: Math.floor(nLayers / step) }, (_, i) => (i + 1) * step - 1);
  if (even.length === layers.length && even.every((layer, i) => layer === layers[i])) {
    return { decoder_sparse_step: step, mlp_only_layers: [] };
  }
  const dense = Array.from({ length: nLayers }, (_, layer) => layer).filter((layer) => !layers.includes(layer));
  return { decoder_sparse_step: 1, mlp_only_layers: dense };
}
