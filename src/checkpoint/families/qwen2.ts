import { qwenWindows } from '../config/window.ts';
import { type Family, NO_PARTS, type StockConfig } from './family.ts';
import { LLAMA_DEFAULTS } from './llama.ts';

export const QWEN2_DEFAULTS: StockConfig = {
  ...LLAMA_DEFAULTS,
  vocab: 151_936,
  inner: 22_016,
  kvHeads: 32,
  headDimNull: false,
  headsDivide: false,
  positions: 32_768,
  bos: null,
  eos: null,
};

export const qwen2: Family = {
  className: 'Qwen2',
  defaults: QWEN2_DEFAULTS,
  base: true,
  gguf: { permuted: false, qkNorm: false },
  // on q, k and v whatever the file says
  parts: () => ({ ...NO_PARTS, qkvBias: true }),
  windows: qwenWindows,
};
