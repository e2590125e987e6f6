import { allLayers, type LayerWindows } from '../families/family.ts';
import { configInvalid, unsupported } from './faults.ts';
import type { ConfigKeys } from './keys.ts';
import { shown } from './keys.ts';

export const DEFAULT_WINDOW = 4096;
export const DEFAULT_WINDOW_LAYERS = 28;
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

/** None in any layer. */
export const NO_WINDOWS: LayerWindows = { slidingWindow: null, windowLayers: [] };

export function windows(width: number | null, layers: readonly number[]): LayerWindows {
  return width === null || layers.length === 0 ? NO_WINDOWS : { slidingWindow: width, windowLayers: layers };
}

/** Of our own configuration, where `layer_types` counts whatever the base; null where it is not there. */
export function ownWindows(keys: ConfigKeys, nLayers: number, file: string): LayerWindows | null {
  if (!keys.has('layer_types')) return null;
  const width = usedWindow(keys);
  return windows(width, layerTypes(keys, nLayers, width, file) ?? []);
}

/** As qwen2 and qwen3 decide: with `use_sliding_window` the layers from `max_window_layers` on, or those that `layer_types` names. */
export function qwenWindows(keys: ConfigKeys, nLayers: number, file: string): LayerWindows {
  const width = usedWindow(keys);
  const from = keys.whole('max_window_layers', DEFAULT_WINDOW_LAYERS);
  return windows(width, layerTypes(keys, nLayers, width, file) ?? allLayers(nLayers).filter((i) => i >= from));
}

/** `sliding_window`, which counts only where `use_sliding_window` says so. */
export function usedWindow(keys: ConfigKeys): number | null {
  const window = keys.wholeOrNull('sliding_window', DEFAULT_WINDOW);
  return keys.flag('use_sliding_window', false) ? window : null;
}

/** The layers with a window by `layer_types`; null where that is absent or null. */
export function layerTypes(
  keys: ConfigKeys,
  nLayers: number,
  window: number | null,
  file: string,
): readonly number[] | null {
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

export function noWindow(file: string): Error {
  return configInvalid(file, 'layers have a sliding window, and sliding_window does not say how wide it is');
}
