import { SOFTMAX, someLayers, sparseLayers } from '../config/experts.ts';
import { DEFAULT_WINDOW_LAYERS, layerTypes, noWindow, usedWindow, windows } from '../config/window.ts';
import { allLayers, type Family, NO_PARTS, type StockConfig } from './family.ts';
import { QWEN2_DEFAULTS } from './qwen2.ts';

export const QWEN2_MOE_DEFAULTS: StockConfig = {
  ...QWEN2_DEFAULTS,
  hidden: 2048,
  inner: 5632,
  layers: 24,
  heads: 16,
  kvHeads: 16,
  kvHeadsNull: false,
};

export const qwen2Moe: Family = {
  className: 'Qwen2Moe',
  defaults: QWEN2_MOE_DEFAULTS,
  base: false,
  gguf: null,
  parts: (keys) => ({ ...NO_PARTS, qkvBias: keys.flag('qkv_bias', true) }),
  // with `use_sliding_window` every second layer below `max_window_layers`, or those that `layer_types` names
  windows: (keys, nLayers, file) => {
    const width = usedWindow(keys);
    const below = keys.whole('max_window_layers', DEFAULT_WINDOW_LAYERS);
    const layers =
      layerTypes(keys, nLayers, width, file) ??
      allLayers(nLayers).filter((i) => width !== null && i % 2 === 0 && i < below);
    if (width === null && keys.flag('use_sliding_window', false)) throw noWindow(file);
    return windows(width, layers);
  },
  experts: (keys, nLayers) => {
    const sharedSize = keys.whole('shared_expert_intermediate_size', 5632);
    const experts = keys.whole('num_experts', 60);
    return someLayers({
      layers: sparseLayers(keys, experts, allLayers(nLayers)),
      experts,
      topK: keys.whole('num_experts_per_tok', 4),
      expertSize: keys.whole('moe_intermediate_size', 1408),
      sharedSize,
      sharedGate: sharedSize > 0,
      router: { ...SOFTMAX, renormalise: keys.flag('norm_topk_prob', false) },
    });
  },
};
