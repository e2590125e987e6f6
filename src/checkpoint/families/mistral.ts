import { DEFAULT_WINDOW, layerTypes, windows } from '../config/window.ts';
import { allLayers, type Family, NO_PARTS, type StockConfig } from './family.ts';
import { LLAMA_DEFAULTS } from './llama.ts';

export const MISTRAL_DEFAULTS: StockConfig = {
  ...LLAMA_DEFAULTS,
  inner: 14_336,
  kvHeads: 8,
  kvHeadsNull: false,
  headsDivide: false,
  positions: 131_072,
};

export const mistral: Family = {
  className: 'Mistral',
  defaults: MISTRAL_DEFAULTS,
  base: true,
  gguf: null,
  parts: () => NO_PARTS,
  // where `layer_types` is there, null or not, the class of ministral reads the file, and these decide
  windows: (keys, nLayers, file) => {
    const width = keys.wholeOrNull('sliding_window', DEFAULT_WINDOW);
    return windows(width, layerTypes(keys, nLayers, width, file) ?? allLayers(nLayers));
  },
};
