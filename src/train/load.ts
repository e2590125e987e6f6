import type { TrainDevice } from '../device/train-device.ts';
import { Decoder } from '../model/decoder.ts';
import { type LoadOptions, loadWeights } from '../model/weights.ts';
import { DecoderReference } from './decoder-reference.ts';
import { DecoderTrainable } from './decoder-trainable.ts';
import { FreezePlan } from './freeze.ts';
import { LoraFactors } from './lora-factors.ts';
import type { Prepared } from './prepare.ts';

/** What stands on a device to be trained. */
export interface Loaded {
  readonly trainable: DecoderTrainable;
  /** Where an adapter is trained. They end with the trainable. */
  readonly factors: LoraFactors | null;
  dispose(): void;
}

/**
 * Reads weights onto a device, those of the reference too.
 * @param hashed whether what is read counts for the digests of the models
 * @throws as `DecoderTrainable.load`; nothing is left allocated then
 */
export async function load(
  { plan, steps, checkpoint, digests, reference }: Prepared,
  device: TrainDevice,
  { hashed, ...options }: LoadOptions & { readonly hashed: boolean },
): Promise<Loaded> {
  const freeze = new FreezePlan(plan.freeze, steps);
  const { lora, seed } = plan;
  let decoder: Decoder | null = null;
  let factors: LoraFactors | null = null;
  try {
    if (reference) {
      const from = hashed ? reference.digests.checkpoint : reference.checkpoint;
      const weights = await loadWeights(device, from, { signal: options.signal });
      decoder = new Decoder(device, from.config, weights, 'exact');
    }
    if (lora) factors = new LoraFactors(device, checkpoint.config, { ...lora, seed });
    const trainable = await DecoderTrainable.load(device, hashed ? digests.checkpoint : checkpoint, {
      ...options,
      trainable: lora === null ? (name) => freeze.everTrains(name) : () => false,
      ...(factors && { adapter: factors }),
      ...(decoder && { reference: new DecoderReference(decoder) }),
    });
    const dispose = (): void => {
      trainable.dispose();
      decoder?.dispose();
    };
    return { trainable, factors, dispose };
  } catch (error) {
    factors?.dispose();
    decoder?.dispose();
    throw error;
  }
}
