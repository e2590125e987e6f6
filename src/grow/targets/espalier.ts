import type { ModelConfig } from '../../checkpoint/types.ts';
import { QWEN_NAMES, type Target } from './target.ts';
import { baseBiases } from './traits.ts';

/** Our own layout (docs/growing.md): whatever its base family computes, with any anchor on any layers. */
export const espalier: Target = {
  className: 'EspalierMoeForCausalLM',
  modelType: 'espalier_moe',
  reason: 'no stock layout holds this model with this anchor on these layers exactly; only Espalier reads it.',
  shared: 'optional',
  everyLayer: false,
  holds: ['qkvBias', 'outputBias', 'qkNorm', 'window', 'mixedWindows', 'partialRotary', 'ownHeadSize'],
  auto: () => true,
  biases: baseBiases,
  names: QWEN_NAMES,
  gguf: null,
  config: ({ config, layers, experts, expertSize, sharedSize, topK, renormalise }) => ({
    base_model_type: config.architecture,
    attention_bias: config.qkvBias || config.outputBias,
    use_sliding_window: config.slidingWindow !== null,
    sliding_window: config.slidingWindow,
    ...(config.slidingWindow === null ? {} : { layer_types: layerTypes(config) }),
    partial_rotary_factor: config.rope.rotaryDims / config.headDim,
    moe_layers: layers,
    num_experts: experts,
    num_experts_per_tok: topK,
    moe_intermediate_size: expertSize,
    shared_expert_intermediate_size: sharedSize,
    shared_expert_gate: false,
    scoring_func: 'softmax',
    norm_topk_prob: renormalise,
  }),
};

function layerTypes({ nLayers, windowLayers }: ModelConfig): string[] {
  const windowed = new Set(windowLayers);
  return Array.from({ length: nLayers }, (_, i) => (windowed.has(i) ? 'sliding_attention' : 'full_attention'));
}
