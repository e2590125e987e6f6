import type { Relearned } from '../../evaluate/robustness/relearn.ts';
import { checked } from '../../options/check.ts';
import type { ModelTarget } from '../../runtime/files/model-files.ts';
import { Crossing } from '../line/crossing.ts';
import { runJob } from '../line/job.ts';
import { type RelearnOptions, relearnThereOptions } from './options.ts';
import { RELEARN, type TrainCalls } from './protocol.ts';

/**
 * How soon a model knows again what it was made to forget, in a worker of its own that ends with the call: a new LoRA adapter is trained on it, on
 * top of its adapters, which stay frozen, until the mean probability of the answers is back at a share of what it was. Experts of an adapter act
 * as its gate has them act before: it reads the model without the adapter, which is not what is trained.
 *
 * @throws E_ARGUMENT for options out of range, and where nothing says what the model knew; E_DATA_INVALID with file and line; E_OUT_OF_MEMORY before
 *   work begins, and later; E_TENSOR_VALUE; E_DIVERGED; what opening the models and adapters throws; E_NO_ISOLATION, E_ABORTED, E_WORKER_LOST
 */
export async function relearn(source: ModelTarget, options: RelearnOptions): Promise<Relearned> {
  const given = checked<RelearnOptions>(relearnThereOptions, options, 'relearn');
  const crossing = new Crossing(given.transfer);
  const wire = {
    ...given,
    data: crossing.data(given.data),
    ...(given.original !== undefined && { original: crossing.model(given.original) }),
    ...(given.adapters && { adapters: crossing.adapters(given.adapters) }),
  };
  return runJob<TrainCalls, 'relearn'>(RELEARN, 'relearn', source, wire, { moved: crossing.moved });
}
