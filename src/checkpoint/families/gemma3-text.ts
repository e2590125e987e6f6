import { unsupported } from '../config/faults.ts';
import { ConfigKeys, shown } from '../config/keys.ts';
import { DEFAULT_WINDOW, layerTypes, noWindow, windows } from '../config/window.ts';
import { isNothing, ropeFromKeys } from '../rope/config.ts';
import { type LayerRopes, ONE_ROPE, type RopeConfig } from '../rope/types.ts';
import {
  type Activation,
  allLayers,
  attentionBias,
  type Family,
  type LayerScales,
  type LayerWindows,
  NO_SCALES,
} from './family.ts';

/** Where nothing says otherwise, every sixth layer sees the whole text. */
const PATTERN = 6;
/** Of layers with a window, where nothing says otherwise. */
const LOCAL_THETA = 10_000;
/** Layers of the one model whose queries are not scaled by the size of a head; llama.cpp tells it by that, and the file says nothing. */
const LAYERS_OF_27B = 62;

export const gemma3Text: Family = {
  className: 'Gemma3',
  defaults: {
    vocab: 262_208,
    hidden: 2304,
    inner: 9216,
    layers: 26,
    heads: 8,
    kvHeads: 4,
    kvHeadsNull: false,
    headDim: 256,
    headDimNull: false,
    headsDivide: true,
    positions: 131_072,
    eps: 1e-6,
    theta: 1_000_000,
    bos: 2,
    eos: 1,
    pad: 0,
    tied: true,
  },
  base: false,
  gguf: {
    architecture: 'gemma3',
    permuted: false,
    qkNorm: true,
    names: {
      post_attention_norm: 'post_attention_layernorm',
      ffn_norm: 'pre_feedforward_layernorm',
      post_ffw_norm: 'post_feedforward_layernorm',
    },
    // its norms are stored with the 1 added
    own: (keys, { nLayers, hiddenSize, nHeads, headDim, rope, slidingWindow }, file) => {
      for (const key of ['attn_logit_softcapping', 'final_logit_softcapping']) {
        if ((keys.number(key) ?? 0) !== 0) throw unsupported(file, `its logits are capped (${key})`);
      }
      // llama.cpp would stretch the layers with windows too
      if (rope.scaling.type === 'yarn') throw unsupported(file, 'its RoPE is stretched by YaRN');
      const named = keys.layerFlags('attention.sliding_window_pattern', nLayers);
      const pattern = named ? 0 : (keys.whole('attention.sliding_window_pattern') ?? PATTERN);
      const local = keys.number('rope.freq_base_swa') ?? LOCAL_THETA;
      const seen = windows(
        slidingWindow,
        allLayers(nLayers).filter((i) => named?.[i] ?? (pattern === 0 || i % pattern < pattern - 1)),
      );
      for (const [key, common] of [
        ['rope.dimension_count_swa', rope.rotaryDims],
        ['attention.key_length_swa', headDim],
        ['attention.value_length_swa', headDim],
      ] as const) {
        const own = keys.whole(key) ?? common;
        if (own !== common && seen.windowLayers.length > 0)
          throw unsupported(file, `its layers with windows differ in ${key} (${own}, not ${common})`);
      }
      return {
        ...gemmaParts,
        ...gemmaScales(hiddenSize, nLayers === LAYERS_OF_27B ? Math.floor(hiddenSize / nHeads) : null),
        ...seen,
        ...localRopes({ ...rope, theta: local, scaling: { type: 'none' }, frequencyDivisors: null }, seen),
      };
    },
  },
  parts: (keys) => ({ ...attentionBias(keys), ...gemmaParts, qkNorm: true, normOffset: 1 }),
  activation: (keys, file) => {
    const act = keys.text('hidden_activation', 'gelu_pytorch_tanh');
    const found = ACTIVATIONS.get(act);
    if (found) return found;
    throw unsupported(file, `its activation is ${act.slice(0, 100)}, not ${[...ACTIVATIONS.keys()].join(' or ')}`);
  },
  windows: windowsOf,
  ropes: (keys, context, nLayers, file) => {
    const nested = keys.child('rope_parameters');
    const scaling = isNothing(keys.value('rope_scaling')) ? null : keys.child('rope_scaling');
    const nothing = new ConfigKeys({}, file);
    const seen = windowsOf(keys, nLayers, file);
    // `_compute_yarn_parameters` looks for it beside the kinds of layers, and passes over one within them
    const truncate = nested?.has('truncate') ? nested.value('truncate') : true;
    /** @param used whether a layer rotates by it: the class does not make the other */
    const read = (inner: ConfigKeys | null, key: string, theta: number, used: boolean): RopeConfig => {
      const outside = used ? keys.only('partial_rotary_factor') : nothing;
      return ropeFromKeys(outside, (inner ?? nothing).but({ truncate }), () => keys.number(key, theta), context, file);
    };
    const named = nested?.child('full_attention') ?? null;
    if (scaling && nested && !named) {
      throw keys.fault('rope_scaling', 'is there beside rope_parameters without full_attention');
    }
    // what is scaled has a `rope_type` already, so that an older `type` counts for nothing
    const full = named ?? new ConfigKeys({ rope_type: 'default' }, file);
    const main = read(
      scaling ? scaling.over(full) : full,
      'rope_theta',
      context.theta,
      seen.windowLayers.length < nLayers,
    );
    const local = read(
      nested?.child('sliding_attention') ?? null,
      'rope_local_base_freq',
      LOCAL_THETA,
      seen.windowLayers.length > 0,
    );
    return { rope: main, ...localRopes(local, seen) };
  },
  scales: (keys, hiddenSize, file) => {
    for (const key of ['attn_logit_softcapping', 'final_logit_softcapping']) {
      const cap = keys.value(key);
      if (cap !== undefined && cap !== null) throw unsupported(file, `its logits are capped (${key} is ${shown(cap)})`);
    }
    return gemmaScales(hiddenSize, keys.whole('query_pre_attn_scalar', 256));
  },
};

const ACTIVATIONS: ReadonlyMap<string, Activation> = new Map([
  ['gelu_pytorch_tanh', 'gelu-tanh'],
  ['silu', 'silu'],
  ['swish', 'silu'],
]);

const gemmaParts = { postNorms: true, activation: 'gelu-tanh' } as const;

/** @param divisor what q · k is divided by the root of; null: the size of a head */
function gemmaScales(hiddenSize: number, divisor: number | null): LayerScales {
  // in f32, as transformers has it in f32 and llama.cpp always; in bf16 transformers would round it
  const embeddingScale = Math.fround(Math.sqrt(hiddenSize));
  return { ...NO_SCALES, embeddingScale, attentionScale: divisor === null ? null : divisor ** -0.5 };
}

/** Layers with a window rotate by a RoPE of their own. */
function localRopes(localRope: RopeConfig, { windowLayers }: LayerWindows): LayerRopes {
  return windowLayers.length === 0 ? ONE_ROPE : { ...ONE_ROPE, localRope, localRopeLayers: windowLayers };
}

function windowsOf(keys: ConfigKeys, nLayers: number, file: string): LayerWindows {
  if (keys.value('use_bidirectional_attention') === true) {
    throw unsupported(file, 'use_bidirectional_attention is true: tokens would see those behind them');
  }
  const width = keys.wholeOrNull('sliding_window', DEFAULT_WINDOW);
  const named = layerTypes(keys, nLayers, width, file);
  if (named) return windows(width, named);
  const pattern = keys.whole('sliding_window_pattern', PATTERN);
  if (pattern === 0) throw keys.fault('sliding_window_pattern', 'is 0');
  const layers = allLayers(nLayers).filter((i) => (i + 1) % pattern !== 0);
  if (layers.length > 0 && width === null) throw noWindow(file);
  return windows(width, layers);
}
