import { checked } from '../../options/check.ts';
import type { ModelTarget } from '../../runtime/files/model-files.ts';
import type { PlannedTraining } from '../../train/job.ts';
import { Crossing } from '../line/crossing.ts';
import { runJob } from '../line/job.ts';
import { type PlanTrainOptions, planTrainThereOptions, type TrainOptions, trainThereOptions } from './options.ts';
import { TRAIN, type TrainCalls, type Trained } from './protocol.ts';

/**
 * Steps, parameters and memory of a training, from its data and the header of the model, found out in a worker.
 * @throws as `train` for what can be found before work begins, but for a want of memory, which it tells
 */
export async function planTrain(source: ModelTarget, options: PlanTrainOptions = {}): Promise<PlannedTraining> {
  const { wire, moved } = wired(checked<PlanTrainOptions>(planTrainThereOptions, options, 'planTrain'));
  return runJob<TrainCalls, 'planTrain'>(TRAIN, 'planTrain', source, wire, { moved });
}

/**
 * Trains a model on examples: all of its weights, or an adapter (LoRA), in a worker of its own that ends with the call. Into a folder, a training
 * that was interrupted goes on where its last state was kept when it is called again with the same arguments, and comes to the same bits in
 * the same runtime, for any number of lanes. An abort is heard within a second, and rejects when the state has been kept.
 *
 * @throws E_ARGUMENT for options out of range, and where the folder holds another unfinished training; E_DATA_INVALID with file and line;
 *   E_OUT_OF_MEMORY before work begins, and later; E_TENSOR_VALUE for NaN in the model; E_DIVERGED; E_STORAGE_FULL, E_FILE_WRITE; what
 *   opening the source throws; E_NO_ISOLATION, E_DEVICE_UNSUPPORTED, E_ABORTED, E_WORKER_LOST. The last state stays in the folder then;
 *   nothing has its final name before all of it is written
 */
export async function train(source: ModelTarget, options: TrainOptions = {}): Promise<Trained> {
  const { wire, moved } = wired(checked<TrainOptions>(trainThereOptions, options, 'train'));
  return runJob<TrainCalls, 'train'>(TRAIN, 'train', source, wire, { moved, patient: true });
}

/** Options as they cross. */
function wired<T extends PlanTrainOptions>(options: T): { wire: T; moved: ArrayBuffer[] } {
  const crossing = new Crossing(options.transfer);
  const wire = {
    ...options,
    data: crossing.data(options.data),
    heldOut: crossing.data(options.heldOut),
    ...(options.reference !== undefined && { reference: crossing.model(options.reference) }),
  };
  return { wire, moved: crossing.moved };
}
