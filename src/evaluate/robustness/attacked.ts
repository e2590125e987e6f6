import type { Checkpoint } from '../../checkpoint/types.ts';
import type { TrainingSequence } from '../../datasets/training/types.ts';
import type { TrainDevice } from '../../device/train-device.ts';
import { throwIfAborted } from '../../errors.ts';
import { adaptedDecoder } from '../../model/adapted-decoder.ts';
import {
  joined,
  type LoadedAdapters,
  loadAdapters,
  type OpenedAdapters,
  type TermsByLayer,
} from '../../model/adapters.ts';
import type { RoutedDecoder } from '../../model/routed/decoder.ts';
import { type LoadOptions, loadWeights } from '../../model/weights.ts';
import { Pace } from '../../runtime/host/yielding.ts';
import { DecoderTrainable } from '../../train/decoder-trainable.ts';
import { LoraFactors, type LoraSpec } from '../../train/lora-factors.ts';
import type { RunOptions } from './sequences.ts';

type Opened = Pick<OpenedAdapters, 'weighed' | 'routed'>;

const NOTHING: TermsByLayer = new Map();

/**
 * A model that is attacked: its weights and those of its adapters are frozen, and new factors are trained on top.
 * @param lora null: nothing is trained
 * @throws as `DecoderTrainable.load` and `loadAdapters`; nothing is left allocated then
 */
export async function loadAttacked(
  device: TrainDevice,
  checkpoint: Checkpoint,
  { weighed, routed }: Opened,
  lora: LoraSpec | null,
  options: LoadOptions,
): Promise<DecoderTrainable> {
  let frozen: LoadedAdapters | null = null;
  let factors: LoraFactors | null = null;
  const dispose = (): void => {
    frozen?.dispose();
    factors?.dispose();
  };
  try {
    if (weighed.length > 0 || routed) {
      frozen = await loadAdapters(device, weighed, { signal: options.signal, withIdentity: false, routed });
    }
    if (lora) factors = new LoraFactors(device, checkpoint.config, lora);
    const kept = frozen ? joined(frozen.terms, frozen.routed?.terms ?? NOTHING) : NOTHING;
    const terms = joined(kept, factors?.terms ?? NOTHING);
    return await DecoderTrainable.load(device, checkpoint, {
      ...options,
      trainable: () => false,
      adapter: { terms, factors: factors?.factors ?? [], dispose },
    });
  } catch (error) {
    dispose();
    throw error;
  }
}

/**
 * What the gate of an adapter makes experts do in each sequence [L - 1, experts]: it reads the model without it, so that training on top
 * changes nothing about it. Null without such an adapter.
 * @throws as `loadWeights`, `loadAdapters` and `RoutedDecoder.forward`; nothing is left allocated
 */
export async function routingOf(
  device: TrainDevice,
  checkpoint: Checkpoint,
  { weighed, routed }: Opened,
  sequences: readonly TrainingSequence[],
  { signal, onLoading, onProgress }: Omit<RunOptions, 'rows'> & { readonly onLoading: RunOptions['onProgress'] },
): Promise<Float32Array[] | null> {
  if (!routed) return null;
  const weights = await loadWeights(device, checkpoint, { signal, onProgress: onLoading });
  let loaded: LoadedAdapters;
  try {
    loaded = await loadAdapters(device, weighed, { signal, withIdentity: false, routed });
  } catch (error) {
    weights.dispose();
    throw error;
  }
  const decoder = adaptedDecoder(device, checkpoint.config, weights, loaded, 'exact') as RoutedDecoder;
  const cache = decoder.cache();
  try {
    const list: Float32Array[] = [];
    const pace = new Pace();
    for (const { ids } of sequences) {
      throwIfAborted(signal);
      list.push(await decoder.coefficients(ids.subarray(0, -1), cache, { signal }));
      onProgress(list.length, sequences.length);
      await pace.breathe();
    }
    return list;
  } finally {
    cache.dispose();
    decoder.dispose();
  }
}
