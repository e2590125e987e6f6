import { configInvalid, unsupported } from '../limits.ts';
import type { ModelConfig } from '../types.ts';
import type { ConfigKeys } from './keys.ts';
import { shown } from './keys.ts';
import type { StockArchitecture } from './stock.ts';

const DEFAULT_WINDOW = 4096;
const DEFAULT_WINDOW_LAYERS = 28;
/** Kinds of layers that transformers knows, old names last. */
const KINDS: ReadonlySet<string> = new Set([
  'full_attention',
  'sliding_attention',
  'chunked_attention',
  'window_attention',
  'indexed_attention',
  'compressed_sparse_attention',
  'heavily_compressed_attention',
  'minimax_m3_sparse',
  'conv',
  'moe',
  'hybrid',
  'hybrid_sliding',
  'reference_sliding_attention',
  'linear_attention',
  'mamba',
  'attention',
  'deepseek_sparse_attention',
  'qwen_sparse_attention',
]);

/**
 * Which layers have a sliding window, and how wide it is, as the class of that architecture decides it:
 *
 * - mistral: all layers; where `layer_types` is there, null or not, the class of ministral reads the file, and these decide
 * - mixtral: all layers, by default none
 * - qwen2, qwen3: with `use_sliding_window` those from `max_window_layers` on, or those that `layer_types` names
 * - qwen2_moe: with `use_sliding_window` every second layer below `max_window_layers`, or those that `layer_types` names
 * - qwen3_moe: all layers with `use_sliding_window`
 * - llama, granitemoeshared: none
 *
 * @param own whether it is a configuration of our own, in which `layer_types` counts whatever the base
 * @throws E_CONFIG_INVALID, E_ARCHITECTURE_UNSUPPORTED for layers of another kind
 */
export function windowFromConfig(
  keys: ConfigKeys,
  base: StockArchitecture,
  own: boolean,
  nLayers: number,
  file: string,
): Pick<ModelConfig, 'slidingWindow' | 'windowLayers'> {
  const every = Array.from({ length: nLayers }, (_, i) => i);
  const some = (window: number | null, layers: readonly number[]) =>
    window === null || layers.length === 0
      ? { slidingWindow: null, windowLayers: [] }
      : { slidingWindow: window, windowLayers: layers };
  if (own && keys.has('layer_types')) {
    const window = usedWindow(keys);
    return some(window, layerTypes(keys, nLayers, window, file) ?? []);
  }
  switch (base) {
    case 'llama':
    case 'granitemoeshared':
      return some(null, []);
    case 'mistral': {
      const window = keys.wholeOrNull('sliding_window', DEFAULT_WINDOW);
      return some(window, layerTypes(keys, nLayers, window, file) ?? every);
    }
    case 'mixtral':
      return some(keys.wholeOrNull('sliding_window', null), every);
    case 'qwen2':
    case 'qwen3': {
      const window = usedWindow(keys);
      const from = keys.whole('max_window_layers', DEFAULT_WINDOW_LAYERS);
      return some(window, layerTypes(keys, nLayers, window, file) ?? every.filter((i) => i >= from));
    }
    case 'qwen2_moe': {
      const window = usedWindow(keys);
      const below = keys.whole('max_window_layers', DEFAULT_WINDOW_LAYERS);
      const layers =
        layerTypes(keys, nLayers, window, file) ?? every.filter((i) => window !== null && i % 2 === 0 && i < below);
      if (window === null && keys.flag('use_sliding_window', false)) throw noWindow(file);
      return some(window, layers);
    }
    case 'qwen3_moe':
      return some(usedWindow(keys), every);
    default:
      return base satisfies never;
  }
}

/** `sliding_window`, which counts only where `use_sliding_window` says so. */
function usedWindow(keys: ConfigKeys): number | null {
  const window = keys.wholeOrNull('sliding_window', DEFAULT_WINDOW);
  return keys.flag('use_sliding_window', false) ? window : null;
}

/** The layers with a window by `layer_types`; null where that is absent or null. */
function layerTypes(keys: ConfigKeys, nLayers: number, window: number | null, file: string): readonly number[] | null {
  const types = keys.value('layer_types');
  if (types === undefined || types === null) return null;
  const layers: number[] = [];
  for (const [i, type] of checkLayerTypes(types, nLayers, file).entries()) {
    if (type === 'sliding_attention') layers.push(i);
    else if (type !== 'full_attention' && type !== 'attention') {
      throw unsupported(file, `layer ${i} is of the kind ${shown(type)}`);
    }
  }
  if (layers.length > 0 && window === null) throw noWindow(file);
  return layers;
}

/**
 * A list with the kind of each layer. Classes that make no use of it still refuse one that cannot be.
 * @throws E_CONFIG_INVALID
 */
export function checkLayerTypes(types: unknown, nLayers: number, file: string): readonly string[] {
  if (!Array.isArray(types)) throw configInvalid(file, `layer_types is ${shown(types)}, not a list`);
  if (types.length !== nLayers) {
    throw configInvalid(file, `layer_types has ${types.length} entries for ${nLayers} layers`);
  }
  const strange = types.find((type) => !KINDS.has(type));
  if (strange !== undefined) throw configInvalid(file, `layer_types holds ${shown(strange)}`);
  return types;
}

function noWindow(file: string): Error {
  return configInvalid(file, 'layers have a sliding window, and sliding_window does not say how wide it is');
}
