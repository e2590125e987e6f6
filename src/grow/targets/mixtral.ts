import { plainGguf, type Target } from './target.ts';

export const mixtral: Target = {
  className: 'MixtralForCausalLM',
  modelType: 'mixtral',
  reason: 'it has no shared expert, so the dense weights are folded into the routed ones.',
  shared: 'never',
  everyLayer: true,
  holds: ['noBase', 'ownHeadSize', 'window'],
  lacks: {
    mixedWindows: 'has one window for all layers',
    partialRotary: 'rotates whole heads',
  },
  auto: () => true,
  biases: () => ({ qkv: false, output: false }),
  names: {
    router: 'block_sparse_moe.gate.weight',
    experts: {
      kind: 'each',
      of: (expert) => ({
        gate: `block_sparse_moe.experts.${expert}.w1.weight`,
        up: `block_sparse_moe.experts.${expert}.w3.weight`,
        down: `block_sparse_moe.experts.${expert}.w2.weight`,
      }),
    },
    shared: null,
    sharedGate: null,
  },
  gguf: plainGguf('llama'),
  config: ({ config, experts, expertSize, topK, loadBalance }) => ({
    // of an expert: the family has no other word for it
    intermediate_size: expertSize,
    sliding_window: config.slidingWindow,
    num_local_experts: experts,
    num_experts_per_tok: topK,
    output_router_logits: false,
    router_aux_loss_coef: loadBalance,
  }),
};
