import { expertCount, SOFTMAX } from '../config/experts.ts';
import { windows } from '../config/window.ts';
import { allLayers, type Family, NO_PARTS } from './family.ts';
import { MISTRAL_DEFAULTS } from './mistral.ts';

export const mixtral: Family = {
  className: 'Mixtral',
  defaults: { ...MISTRAL_DEFAULTS, eps: 1e-5, theta: 1_000_000 },
  base: false,
  gguf: null,
  parts: () => NO_PARTS,
  windows: (keys, nLayers) => windows(keys.wholeOrNull('sliding_window', null), allLayers(nLayers)),
  experts: (keys, nLayers, intermediateSize) => ({
    layers: allLayers(nLayers),
    experts: expertCount(keys, 'num_local_experts', 'num_experts', 8),
    topK: keys.whole('num_experts_per_tok', 2),
    expertSize: intermediateSize,
    sharedSize: 0,
    sharedGate: false,
    router: { ...SOFTMAX, renormalise: true },
  }),
};
