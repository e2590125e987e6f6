import { NO_WINDOWS } from '../config/window.ts';
import { attentionBias, type Family, type StockConfig } from './family.ts';

export const LLAMA_DEFAULTS: StockConfig = {
  vocab: 32_000,
  hidden: 4096,
  inner: 11_008,
  layers: 32,
  heads: 32,
  kvHeads: null,
  kvHeadsNull: true,
  headDim: null,
  headDimNull: true,
  headsDivide: true,
  positions: 2048,
  eps: 1e-6,
  theta: 10_000,
  bos: 1,
  eos: 2,
  pad: null,
  tied: false,
};

export const llama: Family = {
  className: 'Llama',
  defaults: LLAMA_DEFAULTS,
  base: true,
  // Mistral's files are of it too
  gguf: { permuted: true, qkNorm: false },
  parts: (keys) => ({ ...attentionBias(keys), mlpBias: keys.flag('mlp_bias', false) }),
  windows: () => NO_WINDOWS,
};
