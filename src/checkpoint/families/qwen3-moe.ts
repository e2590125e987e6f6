import { expertCount, SOFTMAX, someLayers, sparseLayers } from '../config/experts.ts';
import { usedWindow, windows } from '../config/window.ts';
import { allLayers, attentionBias, type Family } from './family.ts';
import { QWEN2_MOE_DEFAULTS } from './qwen2-moe.ts';

export const qwen3Moe: Family = {
  className: 'Qwen3Moe',
  defaults: { ...QWEN2_MOE_DEFAULTS, inner: 6144, heads: 32, kvHeads: 4 },
  base: false,
  gguf: null,
  parts: (keys) => ({ ...attentionBias(keys), qkNorm: true }),
  windows: (keys, nLayers) => windows(usedWindow(keys), allLayers(nLayers)),
  experts: (keys, nLayers) => {
    const experts = expertCount(keys, 'num_experts', 'num_local_experts', 128);
    return someLayers({
      layers: sparseLayers(keys, experts, allLayers(nLayers)),
      experts,
      topK: keys.whole('num_experts_per_tok', 8),
      expertSize: keys.whole('moe_intermediate_size', 768),
      sharedSize: 0,
      sharedGate: false,
      router: { ...SOFTMAX, renormalise: keys.flag('norm_topk_prob', false) },
    });
  },
};
