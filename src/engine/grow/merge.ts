import { EspalierError } from '../../errors.ts';
import { checked } from '../../options/check.ts';
import type { ModelTarget } from '../../runtime/files/model-files.ts';
import { runJob } from '../line/job.ts';
import { wireAdapters } from '../line/parted-options.ts';
import { type MergeOptions, mergeThereOptions } from './options.ts';
import { GROW, type GrowCalls, type MergedFiles } from './protocol.ts';

/**
 * Writes a model with adapters in its weights, W + Σ weight · scale · B A, as a checkpoint that needs none, in a worker of its own that ends with
 * the call: computed in f32, rounded once to the type that the tensor has, or to `type`. Into a folder, a job that was interrupted goes on
 * where it was when it is called again with the same arguments. The result is the same to the bit for any number of lanes and in every runtime.
 *
 * @throws as `open` for the base and its adapters; E_ARGUMENT without adapters; E_TARGET for a base in GGUF; E_TENSOR_VALUE; E_STORAGE_FULL,
 *   E_FILE_WRITE; E_OUT_OF_MEMORY, E_ABORTED, E_WORKER_LOST. Nothing has its final name before all of it is written
 */
export async function merge(source: ModelTarget, options: MergeOptions): Promise<MergedFiles> {
  const { adapters = [], ...given } = checked<MergeOptions>(mergeThereOptions, options, 'merge');
  if (adapters.length === 0) {
    throw new EspalierError('E_ARGUMENT', 'There are no adapters to merge.', 'Give at least one.');
  }
  const wired = wireAdapters(adapters, given.transfer ?? false);
  const wire = { ...given, ...{ adapters: wired.adapters } };
  return runJob<GrowCalls, 'merge'>(GROW, 'merge', source, wire, { moved: wired.transfer });
}
