import { QWEN_NAMES, sparseLayers, type Target } from './target.ts';

/** The gate row that llama.cpp needs in place of zeros. */
const TINY_GATE = 1e-6;

export const qwen2Moe: Target = {
  className: 'Qwen2MoeForCausalLM',
  modelType: 'qwen2_moe',
  reason: 'it has the biases of q, k and v, and a shared expert whose gate of zero halves a doubled down projection.',
  shared: 'always',
  everyLayer: false,
  holds: ['noBase', 'qkvBias'],
  lacks: {
    window: 'has sliding windows on which loaders disagree',
    partialRotary: 'rotates whole heads',
    ownHeadSize: 'takes the head size from hidden size and heads',
  },
  // others have fewer biases that would be zeros
  auto: (traits) => traits.has('qkvBias'),
  // always there: some loaders make room for them whatever the file says
  biases: () => ({ qkv: true, output: false }),
  names: { ...QWEN_NAMES, sharedGate: 'mlp.shared_expert_gate.weight' },
  gguf: {
    name: 'qwen2moe',
    untie: true,
    renormalises: false,
    // it computes sigmoid(x) as silu(x) / x
    sharedGate: { value: TINY_GATE, why: 'where llama.cpp would compute 0 / 0' },
  },
  config: (facts) => ({
    ...sparseLayers(facts),
    qkv_bias: true,
    use_sliding_window: false,
    num_experts: facts.experts,
    num_experts_per_tok: facts.topK,
    moe_intermediate_size: facts.expertSize,
    shared_expert_intermediate_size: facts.sharedSize,
    norm_topk_prob: facts.renormalise,
    output_router_logits: false,
    router_aux_loss_coef: facts.loadBalance,
  }),
};
