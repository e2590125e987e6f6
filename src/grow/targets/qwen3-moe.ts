import { allBiases, plainGguf, QWEN_NAMES, sparseLayers, type Target } from './target.ts';

export const qwen3Moe: Target = {
  className: 'Qwen3MoeForCausalLM',
  modelType: 'qwen3_moe',
  reason: 'it has the norms of q and k, and no shared expert, so the dense weights are folded into the routed ones.',
  shared: 'never',
  everyLayer: false,
  holds: ['noBase', 'qkNorm', 'qkvBias', 'outputBias', 'ownHeadSize'],
  lacks: {
    window: 'has sliding windows on which loaders disagree',
    partialRotary: 'rotates whole heads',
  },
  needs: { qkNorm: 'norms q and k, and no weight makes a norm do nothing' },
  auto: () => true,
  biases: allBiases,
  names: { ...QWEN_NAMES, shared: null },
  gguf: plainGguf('qwen3moe'),
  config: (facts) => ({
    ...sparseLayers(facts),
    attention_bias: allBiases(facts.config).qkv,
    use_sliding_window: false,
    num_experts: facts.experts,
    num_experts_per_tok: facts.topK,
    moe_intermediate_size: facts.expertSize,
    norm_topk_prob: facts.renormalise,
    output_router_logits: false,
    router_aux_loss_coef: facts.loadBalance,
  }),
};
