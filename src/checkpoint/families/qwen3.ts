import { qwenWindows } from '../config/window.ts';
import { attentionBias, type Family } from './family.ts';
import { QWEN2_DEFAULTS } from './qwen2.ts';

export const qwen3: Family = {
  className: 'Qwen3',
  defaults: { ...QWEN2_DEFAULTS, headDim: 128 },
  base: true,
  gguf: { permuted: false, qkNorm: true },
  parts: (keys) => ({ ...attentionBias(keys), qkNorm: true }),
  windows: qwenWindows,
};
