import { EspalierError } from '../../errors.ts';
import type { PlannedGrowth } from '../../grow/job.ts';
import { checked } from '../../options/check.ts';
import type { ModelTarget } from '../../runtime/files/model-files.ts';
import { host } from '../../runtime/host/host.ts';
import { laneCount } from '../../runtime/host/lane-count.ts';
import { type Host, hasNode } from '../../runtime/host/types.ts';
import type { FilesOptions } from '../../runtime/hub/options.ts';
import { aborted, type CallOptions, WorkerLink } from '../line/link.ts';
import { partOptions, placeOf, wireTarget } from '../line/parted-options.ts';
import type { CallArguments, CallResult } from '../line/port.ts';
import { type GrowOptions, growThereOptions, type Place, type PlanGrowOptions, planThereOptions } from './options.ts';
import { GROW, type GrowCalls, type GrowLink, type Grown } from './protocol.ts';

type Job = Exclude<keyof GrowCalls, 'start'>;

/** Options of any job. */
type JobOptions = Place &
  Pick<FilesOptions, 'signal'> & { readonly lanes?: number | 'auto'; readonly wasmLocation?: string | URL };

/**
 * Sizes, time and memory of a job, from the headers of the source alone, read in a worker.
 * @throws as `grow` for what can be found before work begins
 */
export async function planGrow(source: ModelTarget, options: PlanGrowOptions = {}): Promise<PlannedGrowth> {
  return work('planGrow', source, checked(planThereOptions, options, 'planGrow'));
}

/**
 * Grows a dense model into a mixture of experts (SPRI, arXiv 2606.16456, or a baseline) and writes it as a checkpoint that stock loaders
 * accept, layer by layer, in a worker of its own that ends with the call. Into a folder, a job that was interrupted goes on where it was
 * when it is called again with the same arguments. The result is the same to the bit for any number of lanes and in every runtime.
 *
 * @throws E_ARGUMENT for options out of range; E_TARGET when the target cannot hold the result exactly; E_STORAGE_FULL before work
 *   begins and later, E_FILE_WRITE; E_TENSOR_VALUE for NaN in the source; what opening the source throws; E_NO_ISOLATION,
 *   E_DEVICE_UNSUPPORTED, E_OUT_OF_MEMORY, E_ABORTED, E_WORKER_LOST. What is finished in a folder stays for the next call; nothing has its
 *   final name before all of it is written
 */
export async function grow(source: ModelTarget, options: GrowOptions = {}): Promise<Grown> {
  return work('grow', source, checked(growThereOptions, options, 'grow'));
}

/** Workers that have ended before their job had: what they have locked is free. */
const unfinished = new Set<string>();

/**
 * One call in a worker of its own.
 * @param moved buffers that go with the options
 */
export async function work<K extends Job>(
  name: K,
  source: ModelTarget,
  { transfer: give = false, workerLocation, laneLocation, wasmLocation, ...options }: JobOptions,
  moved: readonly ArrayBuffer[] = [],
): Promise<CallResult<GrowCalls, K>> {
  checkOut(options.out);
  const { data, signal, callbacks } = partOptions(options, GROW.local);
  const wasm = placeOf(wasmLocation, true);
  const places = { worker: placeOf(workerLocation), lane: placeOf(laneLocation) };
  // now, so that the caller may change his bytes afterwards
  const { target, transfer } = wireTarget(source, give);
  const on = await host();
  if (signal?.aborted) throw aborted(signal);
  const lanes = laneCount(options.lanes ?? 'auto', on);
  const thread = Math.random().toString(36).slice(2);
  let isOver = false;
  const link: GrowLink = new WorkerLink<GrowCalls>(on, GROW, places);
  try {
    await link.call('start', [factsOf(on), { name: thread, ended: [...unfinished] }], { signal });
    const args = [target, { ...data, lanes, ...(wasm && { wasmLocation: wasm.href }) }] as unknown as CallArguments<
      GrowCalls,
      K
    >;
    const given: CallOptions<CallResult<GrowCalls, K>> = {
      signal,
      callbacks,
      transfer: [...transfer, ...moved],
      keepLate: true,
    };
    const result = await link.call(name, args, given);
    isOver = true;
    return result;
  } finally {
    const isGone = await link.end(new EspalierError('E_DISPOSED', 'The job is over.', 'Start another one.'));
    if (isGone && !isOver) unfinished.add(thread);
  }
}

function factsOf({ name, cores, sharedMemory }: Host): Omit<Host, 'spawn'> {
  return { name, cores, sharedMemory };
}

/** @throws E_ARGUMENT */
function checkOut(out: unknown): void {
  if (out === undefined) return;
  if (!hasNode()) {
    throw new EspalierError(
      'E_ARGUMENT',
      'This host has no file system to write to.',
      'Leave `out` out: the files come back as Blobs.',
    );
  }
}
