/** What computes an unlearning, and what is measured of the model that it leaves. */
import { openCheckpoint } from '../src/checkpoint/open.ts';
import type { Device } from '../src/device/device.ts';
import { chosenDevice, openTrainDevice } from '../src/device/open-device.ts';
import type { TrainDevice } from '../src/device/train-device.ts';
import { modelUtility } from '../src/evaluate/unlearning/measures.ts';
import type { TofuOptions } from '../src/evaluate/unlearning/options.ts';
import { measureTofu, type TofuMeasures, tofuUtility, UTILITY_SETS } from '../src/evaluate/unlearning/tofu.ts';
import type { TofuSet } from '../src/evaluate/unlearning/tofu-data.ts';
import type { AdapterChoice } from '../src/model/adapter-options.ts';
import { withModel } from '../src/prune/measure/with-model.ts';
import type { ModelTarget } from '../src/runtime/files/model-files.ts';
import { trainWork } from '../src/train/plan/room.ts';

export const DEVICES = ['auto', 'wasm', 'webgpu'] as const;

/** Where it is computed: `lanes` of the CPU, or a GPU. */
export interface Computing {
  readonly device: (typeof DEVICES)[number];
  readonly lanes: number;
}

/** What is opened as a model: files, and adapters on them. */
export interface Snapshot {
  readonly target: ModelTarget;
  readonly adapters: readonly AdapterChoice[];
}

/** A device on which a model of this size is trained and measured; who asks for it closes it. */
export async function deviceFor(model: ModelTarget, { device, lanes }: Computing): Promise<TrainDevice> {
  const checkpoint = await openCheckpoint(model);
  try {
    return await openTrainDevice({ device: await chosenDevice(device, trainWork({ checkpoint })), lanes });
  } finally {
    await checkpoint.close();
  }
}

/** Opens it as anyone would, and measures it. @returns by the names of the sets */
export function measured(
  device: Device,
  { target, adapters }: Snapshot,
  sets: readonly TofuSet[],
  options: TofuOptions,
): Promise<Record<string, TofuMeasures>> {
  return withModel(target, { device, adapters }, async (model) => {
    const found: Record<string, TofuMeasures> = {};
    for (const set of sets) found[set.name] = await measureTofu(model, set, options);
    return found;
  });
}

/** Harmonic mean of probability and truth ratio over the sets of utility, and of ROUGE-L where answers are written; null where a set is missing. */
export function utilityOf(found: Readonly<Record<string, TofuMeasures>>, rouge: boolean): number | null {
  if (rouge) return tofuUtility(found);
  const figures = UTILITY_SETS.flatMap((name) => {
    const own = found[name];
    return own ? [own.probability, own.truthRatioScore!] : [];
  });
  return figures.length === 2 * UTILITY_SETS.length ? modelUtility(figures) : null;
}
