import type { PlannedGrowth } from '../../grow/job.ts';
import { checked } from '../../options/check.ts';
import type { ModelTarget } from '../../runtime/files/model-files.ts';
import { runJob } from '../line/job.ts';
import { type GrowOptions, growThereOptions, type PlanGrowOptions, planThereOptions } from './options.ts';
import { GROW, type GrowCalls, type Grown } from './protocol.ts';

/**
 * Sizes, time and memory of a job, from the headers of the source alone, read in a worker.
 * @throws as `grow` for what can be found before work begins
 */
export async function planGrow(source: ModelTarget, options: PlanGrowOptions = {}): Promise<PlannedGrowth> {
  return runJob<GrowCalls, 'planGrow'>(GROW, 'planGrow', source, checked(planThereOptions, options, 'planGrow'));
}

/**
 * Grows a dense model into a mixture of experts (SPRI, arXiv 2606.16456, or a baseline) and writes it as a checkpoint that stock loaders
 * accept, layer by layer, in a worker of its own that ends with the call. Into a folder, a job that was interrupted goes on where it was
 * when it is called again with the same arguments. The result is the same to the bit for any number of lanes and in every runtime; with
 * `device: 'webgpu'`, where a GPU computes the heavy products, its corrections have other last bits.
 *
 * @throws E_ARGUMENT for options out of range; E_TARGET when the target cannot hold the result exactly; E_STORAGE_FULL before work
 *   begins and later, E_FILE_WRITE; E_TENSOR_VALUE for NaN in the source; what opening the source throws; E_NO_ISOLATION,
 *   E_DEVICE_UNSUPPORTED, E_DEVICE_LOST, E_OUT_OF_MEMORY, E_ABORTED, E_WORKER_LOST. What is finished in a folder stays for the next call; nothing has its
 *   final name before all of it is written
 */
export async function grow(source: ModelTarget, options: GrowOptions = {}): Promise<Grown> {
  return runJob<GrowCalls, 'grow'>(GROW, 'grow', source, checked(growThereOptions, options, 'grow'));
}
