import { SOFTMAX } from '../config/experts.ts';
import { NO_WINDOWS } from '../config/window.ts';
import { allLayers, attentionBias, type Family } from './family.ts';
import { LLAMA_DEFAULTS } from './llama.ts';

export const granitemoeshared: Family = {
  className: 'GraniteMoeShared',
  defaults: { ...LLAMA_DEFAULTS, headDimNull: false, headsDivide: false },
  base: false,
  gguf: null,
  parts: attentionBias,
  windows: () => NO_WINDOWS,
  scales: (keys) => ({
    embeddingScale: keys.number('embedding_multiplier', 1),
    residualScale: keys.number('residual_multiplier', 1),
    logitScale: keys.number('logits_scaling', 1),
    attentionScale: keys.number('attention_multiplier', 1),
  }),
  experts: (keys, nLayers, intermediateSize) => ({
    layers: allLayers(nLayers),
    experts: keys.whole('num_local_experts', 8),
    topK: keys.whole('num_experts_per_tok', 2),
    expertSize: intermediateSize,
    sharedSize: keys.whole('shared_intermediate_size', 0),
    sharedGate: false,
    router: { ...SOFTMAX, score: 'selected-softmax' },
  }),
};
