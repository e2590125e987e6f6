import { configInvalid, unsupported } from '../config/faults.ts';
import type { ConfigKeys } from '../config/keys.ts';
import { layerTypes, NO_WINDOWS, windows } from '../config/window.ts';
import { ropeFromConfig } from '../rope/config.ts';
import { ONE_ROPE } from '../rope/types.ts';
import { allLayers, attentionBias, type Family } from './family.ts';
import { LLAMA_DEFAULTS } from './llama.ts';

/** llama.cpp knows no other step: every fourth layer rotates nothing. */
const GGUF_STEP = 4;

export const smollm3: Family = {
  className: 'SmolLM3',
  defaults: {
    ...LLAMA_DEFAULTS,
    vocab: 128_256,
    hidden: 2048,
    layers: 36,
    heads: 16,
    kvHeads: 4,
    headDimNull: false,
    headsDivide: false,
    positions: 32_768,
    theta: 2_000_000,
    bos: 128_000,
    eos: 128_001,
    pad: 128_004,
    tied: true,
  },
  base: false,
  gguf: {
    permuted: true,
    qkNorm: false,
    own: (_, { nLayers, slidingWindow }, file) => {
      if (slidingWindow !== null)
        throw unsupported(file, 'it has a sliding window, which llama.cpp does not read there');
      return { ...NO_WINDOWS, noRopeLayers: everyNth(nLayers, GGUF_STEP) };
    },
  },
  parts: (keys) => ({ ...attentionBias(keys), mlpBias: keys.flag('mlp_bias', false) }),
  // the mask of a layer that `layer_types` names asks for no `use_sliding_window`
  windows: (keys, nLayers, file) => {
    const width = keys.wholeOrNull('sliding_window', null);
    const used = keys.flag('use_sliding_window', false) ? width : null;
    const named = layerTypes(keys, nLayers, width, file);
    return named ? windows(width, named) : windows(used, noRopeLayers(keys, nLayers, file));
  },
  ropes: (keys, context, nLayers, file) => ({
    rope: ropeFromConfig(keys, context, file),
    ...ONE_ROPE,
    noRopeLayers: noRopeLayers(keys, nLayers, file),
  }),
};

/** Of `no_rope_layers`, whose numbers say whether a layer rotates, whatever its name says; without it every `no_rope_layer_interval`-th. */
function noRopeLayers(keys: ConfigKeys, nLayers: number, file: string): readonly number[] {
  const step = keys.whole('no_rope_layer_interval', 4);
  const rotating = keys.wholes('no_rope_layers');
  if (rotating === null) {
    if (step === 0) throw keys.fault('no_rope_layer_interval', 'is 0');
    return everyNth(nLayers, step);
  }
  if (rotating.length < nLayers) {
    throw configInvalid(file, `no_rope_layers has ${rotating.length} entries for ${nLayers} layers`);
  }
  return allLayers(nLayers).filter((i) => rotating[i] === 0);
}

function everyNth(nLayers: number, step: number): readonly number[] {
  return allLayers(nLayers).filter((i) => (i + 1) % step === 0);
}
