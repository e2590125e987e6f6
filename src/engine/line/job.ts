import type { DeviceName } from '../../device/options.ts';
import { EspalierError } from '../../errors.ts';
import { either, folder, nothing, place, refusal, truth, words } from '../../options/rules.ts';
import type { ModelTarget } from '../../runtime/files/model-files.ts';
import { host } from '../../runtime/host/host.ts';
import { laneCount } from '../../runtime/host/lane-count.ts';
import { type Host, hasNode } from '../../runtime/host/types.ts';
import { aborted, type CallOptions, type LinkKind, WorkerLink } from './link.ts';
import { partOptions, placeOf, wireTarget } from './parted-options.ts';
import type { CallArguments, CallName, CallResult, Calls, Data, WireTarget } from './port.ts';

/** The caller's host as the worker needs it. */
export type HostFacts = Omit<Host, 'spawn'>;

/** For locks: the worker's name, and those of workers that were ended in the middle of a job. */
export interface Threads {
  readonly name: string;
  readonly ended: readonly string[];
}

/** What every worker of jobs answers first. */
export interface JobCalls {
  start(host: HostFacts, threads: Threads): void;
}

/** Options of a job in a form that crosses. */
export type WireOptions<T> = Omit<Data<T>, 'out' | 'cache' | 'lanes' | 'device'> & {
  /** A path or a file URL; without it the files go back to the caller. */
  readonly out?: string;
  readonly cache?: string | null;
  readonly lanes: number;
  readonly device?: DeviceName;
};

/** Where a job runs and what it gets. */
export interface Place {
  /**
   * The folder to write: one that does not exist yet or is empty, by path or file URL, where the host has files. Default: none; the
   * result is held in memory and comes back as Blobs.
   */
  readonly out?: string | URL;
  /** Name of the folder for downloads; default: the host's own. Null: in memory. */
  readonly cache?: string | null;
  /** Gives bytes away: they are moved to the worker instead of copied, and the caller's arrays are empty then. */
  readonly transfer?: boolean;
  /** The script of the worker (`workers/grow.js`, `workers/train.js`), and that of a lane, where they are not beside the JavaScript. */
  readonly workerLocation?: string | URL;
  readonly laneLocation?: string | URL;
}

/** Of jobs whose result need not be the same to the bit everywhere. */
export interface ComputingPlace {
  /**
   * What computes: `wasm`, the CPU, or `webgpu`, a GPU. `auto` (default): a real GPU where it is known to be faster with a
   * model of this size, else the CPU. The two do not come to the same bits (docs/webgpu.md).
   */
  readonly device?: DeviceName;
}

/** @param elsewhere what takes an output of the caller's own, for the message */
export function placeOptions(elsewhere: string) {
  return {
    out: {
      ...folder,
      check: (value: unknown, name: string): string | URL => {
        const takes = `a path, or a file URL; ${elsewhere} writes to any output, in your own thread`;
        if (typeof value === 'object' && !(value instanceof URL)) throw refusal(name, value, takes);
        return folder.check(value, name);
      },
    },
    cache: either(words, nothing),
    transfer: truth,
    workerLocation: place,
    laneLocation: place,
  };
}

/** Options that every job has, checked. */
export interface JobOptions extends Place {
  readonly lanes?: number | 'auto';
  readonly wasmLocation?: string | URL;
  readonly signal?: AbortSignal | undefined;
}

/** Workers that have ended before their job had: what they have locked is free. */
const unfinished = new Set<string>();

/** One call in a worker of its own: `start`, and then the one that is asked for, of a target and options. */
export async function runJob<C extends Calls<C>, K extends CallName<C>>(
  kind: LinkKind,
  name: K,
  source: ModelTarget,
  { transfer: give = false, workerLocation, laneLocation, wasmLocation, ...options }: JobOptions,
  {
    moved = [],
    patient = false,
  }: {
    /** Buffers that go with the options. */
    readonly moved?: readonly ArrayBuffer[];
    /** When it is aborted: waits for what the worker still has to do. */
    readonly patient?: boolean;
  } = {},
): Promise<CallResult<C, K>> {
  checkOut(options.out);
  const { data, signal, callbacks } = partOptions(options, kind.local);
  const wasm = placeOf(wasmLocation, true);
  const places = { worker: placeOf(workerLocation), lane: placeOf(laneLocation) };
  // now, so that the caller may change his bytes afterwards
  const { target, transfer } = wireTarget(source, give);
  const on = await host();
  if (signal?.aborted) throw aborted(signal);
  const lanes = laneCount(options.lanes ?? 'auto', on);
  const thread = Math.random().toString(36).slice(2);
  let isOver = false;
  const link = new WorkerLink<C>(on, kind, places);
  try {
    const threads: Threads = { name: thread, ended: [...unfinished] };
    const begin = [factsOf(on), threads] as unknown as CallArguments<C, CallName<C>>;
    await link.call('start' as CallName<C>, begin, { signal });
    const wired: readonly [WireTarget, unknown] = [
      target,
      { ...data, lanes, ...(wasm && { wasmLocation: wasm.href }) },
    ];
    const given: CallOptions<CallResult<C, K>> = {
      signal,
      callbacks,
      transfer: [...transfer, ...moved],
      keepLate: true,
      patient,
    };
    const result = await link.call(name, wired as unknown as CallArguments<C, K>, given);
    isOver = true;
    return result;
  } finally {
    const isGone = await link.end(new EspalierError('E_DISPOSED', 'The job is over.', 'Start another one.'));
    if (isGone && !isOver) unfinished.add(thread);
  }
}

function factsOf({ name, cores, sharedMemory }: Host): HostFacts {
  return { name, cores, sharedMemory };
}

/** @throws E_ARGUMENT */
function checkOut(out: unknown): void {
  if (out === undefined || hasNode()) return;
  throw new EspalierError(
    'E_ARGUMENT',
    'This host has no file system to write to.',
    'Leave `out` out: the files come back as Blobs.',
  );
}
