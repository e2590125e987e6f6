import { allBiases, plainGguf, type Target } from './target.ts';

export const granitemoeshared: Target = {
  className: 'GraniteMoeSharedForCausalLM',
  modelType: 'granitemoeshared',
  reason: 'stock loaders compute its shared expert without a gate and softmax over the chosen, as the method does.',
  shared: 'always',
  everyLayer: true,
  holds: ['noBase', 'qkvBias', 'outputBias', 'embeddingScale', 'residualScale', 'logitScale', 'attentionScale'],
  lacks: {
    partialRotary: 'rotates whole heads',
    ownHeadSize: 'takes the head size from hidden size and heads',
  },
  // models of this family have no biases: who wants them there says so
  auto: (traits) => !traits.has('qkvBias') && !traits.has('outputBias'),
  biases: allBiases,
  names: {
    router: 'block_sparse_moe.router.layer.weight',
    experts: {
      kind: 'fused',
      input: 'block_sparse_moe.input_linear.weight',
      output: 'block_sparse_moe.output_linear.weight',
    },
    shared: { kind: 'fused', input: 'shared_mlp.input_linear.weight', output: 'shared_mlp.output_linear.weight' },
    sharedGate: null,
  },
  gguf: plainGguf('granitemoe'),
  config: ({ config, experts, expertSize, sharedSize, topK, loadBalance }) => ({
    // of an expert: the family has no other word for it
    intermediate_size: expertSize,
    attention_bias: allBiases(config).qkv,
    // Granite's factors, which do nothing where the dense model has none
    attention_multiplier: config.attentionScale ?? 1 / Math.sqrt(config.headDim),
    embedding_multiplier: config.embeddingScale,
    residual_multiplier: config.residualScale,
    logits_scaling: config.logitScale,
    num_local_experts: experts,
    num_experts_per_tok: topK,
    shared_intermediate_size: sharedSize,
    output_router_logits: false,
    router_aux_loss_coef: loadBalance,
  }),
};
