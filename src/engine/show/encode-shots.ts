import { type DeviceName, deviceName, precision } from '../../device/options.ts';
import { EspalierError } from '../../errors.ts';
import { contextLength } from '../../model/options.ts';
import type { OpenOptions } from '../../open-local.ts';
import { checked } from '../../options/check.ts';
import { defined } from '../../options/defined.ts';
import { callback, defaulting, either, oneOf, place, type Schema, signal, whole, words } from '../../options/rules.ts';
import type { ModelTarget } from '../../runtime/files/model-files.ts';
import { checkedTarget } from '../../runtime/files/target.ts';
import { host } from '../../runtime/host/host.ts';
import { MOST_LANES } from '../../runtime/host/lane-count.ts';
import { checkedShots } from '../../show/checks.ts';
import { poolOptions, storage } from '../../show/pool/options.ts';
import { modeFacts } from '../../show/pool/prefix-mode.ts';
import { instruction } from '../../show/rules.ts';
import type { PoolProgress, PrefixMode, Shot, StorageType, WorkEstimate } from '../../show/types.ts';
import { Engine } from '../engine.ts';
import { aborted } from '../line/link.ts';
import { engineOpenOptions } from '../options.ts';
import { ShotPool } from './pool.ts';

export interface EncodeShotsOptions
  extends Pick<OpenOptions, 'precision' | 'quantise' | 'contextLength' | 'adapters' | 'hub'> {
  /** As in `PoolOptions`, and as in the pool that is to find the shots. */
  readonly instruction?: string;
  readonly prefix?: PrefixMode;
  readonly storage?: StorageType;
  /** Folder of the store, or in browsers its name, as `openShotStore` takes it. Default: the same. */
  readonly store?: string;
  /** What computes: `wasm`, the CPU, or `webgpu`, a GPU. `auto` (default): the CPU. Pools on either find what the other has encoded. */
  readonly device?: DeviceName;
  /** `auto` (default): one for each core, and no more than there are lots of 32 shots; on a GPU one. Each opens the model for itself. */
  readonly workers?: number | 'auto';
  /** The script of the workers (`workers/show.js`), where it is not beside the JavaScript. */
  readonly workerLocation?: string | URL;
  /** Folder of the kernels' wasm files, where it is not beside the JavaScript. */
  readonly wasmLocation?: string | URL;
  readonly signal?: AbortSignal;
  /** As in `PoolOptions`: of all workers together, first without and then with seconds. */
  readonly onEstimate?: (estimate: WorkEstimate) => void;
  readonly onProgress?: (progress: PoolProgress) => void;
}

export const encodeShotsOptions = {
  precision,
  quantise: engineOpenOptions.quantise,
  contextLength,
  adapters: engineOpenOptions.adapters,
  hub: engineOpenOptions.hub,
  instruction,
  prefix: poolOptions.prefix,
  storage,
  store: words,
  device: deviceName('a ShotPool of espalier/show'),
  workers: defaulting(either(whole(1, MOST_LANES), oneOf('auto')), 'auto'),
  workerLocation: place,
  wasmLocation: place,
  signal,
  onEstimate: callback,
  onProgress: callback,
} as const satisfies Schema<EncodeShotsOptions>;

/** Shots that a worker is worth starting for. */
const LOT = 32;

/**
 * Encodes shots into a store, in workers that share no memory with each other or with the caller: for pages that are not cross-origin
 * isolated, where one model has one lane, to keep the calling thread free, and on a GPU. Build a `ShotPool` over the same store afterwards: it loads
 * them. What is in the store already is not encoded again, also after an error or an abort. On quantised weights stored keys
 * depend slightly on which shots were encoded together, and so on the number of workers.
 *
 * @returns shots in all, and how many of them the store had
 * @throws E_ARGUMENT; E_DEVICE_UNSUPPORTED where nothing keeps files, and without a GPU where one is asked for; what opening the model and `ShotPool.build` throw; E_WORKER_LOST
 */
export async function encodeShots(
  target: ModelTarget,
  shots: readonly Shot[],
  options: EncodeShotsOptions = {},
): Promise<{ readonly total: number; readonly loaded: number }> {
  checkedShots(shots);
  const given = checked<EncodeShotsOptions>(encodeShotsOptions, options, 'encodeShots()');
  const { precision, quantise, contextLength, adapters, hub, store = true, workers = 'auto' } = given;
  const { instruction, prefix, storage } = given;
  const device = given.device === 'webgpu' ? 'webgpu' : 'wasm';
  const { workerLocation, wasmLocation, signal, onProgress, onEstimate } = given;
  checkedTarget(target);
  const block = modeFacts(prefix ?? 'bare').block;
  if (signal?.aborted) throw aborted(signal);
  const { cores } = await host();
  if (signal?.aborted) throw aborted(signal);
  const most = Math.max(1, Math.ceil(shots.length / (workers === 'auto' ? Math.max(LOT, block) : block)));
  // one command queue serves all that is computed on a GPU
  const count = workers === 'auto' ? (device === 'webgpu' ? 1 : cores) : workers;
  const lots = lotsOf(shots, Math.min(count, most), block);
  const progress = lots.map(({ length }) => ({ done: 0, total: length, loaded: 0, tokens: 0, totalTokens: 0 }));
  const estimates = new Map<number, WorkEstimate>();
  // one that fails ends the others
  const stop = new AbortController();
  const onAbort = () => stop.abort(signal!.reason);
  signal?.addEventListener('abort', onAbort);
  const own = { signal: stop.signal };
  /** One lot, by an engine of its own with one lane: it shares nothing but the store with the others. */
  const encode = async (lot: readonly Shot[], i: number): Promise<void> => {
    const engine = await Engine.create({
      device,
      ...(device === 'wasm' && { lanes: 1 }),
      show: true,
      ...defined({ workerLocation, wasmLocation }),
      ...own,
    });
    try {
      const model = await engine.open(target, {
        ...defined({ precision, quantise, contextLength, adapters, hub }),
        ...own,
      });
      const pool = await ShotPool.build(model, lot, {
        ...defined({ instruction, prefix, storage }),
        store,
        grow: { initial: 0 },
        ...own,
        // here the store is all that is wanted
        onWarning: (warning) => {
          throw warning;
        },
        onProgress: (told) => {
          progress[i] = told;
          onProgress?.(sumOf(progress));
        },
        onEstimate: (told) => {
          estimates.set(i, told);
          const all = [...estimates.values()];
          const timed = all.filter(({ seconds }) => seconds !== null).length;
          if (all.length === lots.length && (timed === 0 || timed === all.length)) onEstimate?.(together(all));
        },
      });
      if (!pool.isKept) {
        throw new EspalierError(
          'E_DEVICE_UNSUPPORTED',
          'This host keeps no files, so workers cannot hand over what they encode.',
          'Use ShotPool.build alone.',
        );
      }
      await pool.prepare(undefined, own);
    } finally {
      await engine.close();
    }
  };
  let failure: { readonly error: unknown } | undefined;
  const fail = (error: unknown): void => {
    failure ??= { error };
    stop.abort(error);
  };
  await Promise.all(lots.map((lot, i) => encode(lot, i).catch(fail)));
  signal?.removeEventListener('abort', onAbort);
  if (failure) throw failure.error;
  return { total: shots.length, loaded: sumOf(progress).loaded };
}

function sumOf(progress: readonly PoolProgress[]): PoolProgress {
  const sum = (key: keyof PoolProgress) => progress.reduce((all, part) => all + part[key], 0);
  return {
    done: sum('done'),
    total: sum('total'),
    loaded: sum('loaded'),
    tokens: sum('tokens'),
    totalTokens: sum('totalTokens'),
  };
}

/** Of workers beside each other the last decides how long. */
function together(all: readonly WorkEstimate[]): WorkEstimate {
  const sum = (key: 'shots' | 'tokens' | 'bytes') => all.reduce((total, one) => total + one[key], 0);
  const seconds = all.every((one) => one.seconds !== null) ? Math.max(...all.map((one) => one.seconds!)) : null;
  return { shots: sum('shots'), tokens: sum('tokens'), bytes: sum('bytes'), seconds };
}

/** Lots of about equal size, in which blocks are whole. */
function lotsOf(shots: readonly Shot[], count: number, block: number): readonly (readonly Shot[])[] {
  const units = Math.ceil(shots.length / block);
  return Array.from({ length: count }, (_, i) => {
    const [first, end] = [Math.floor((units * i) / count), Math.floor((units * (i + 1)) / count)];
    return shots.slice(first * block, end * block).map(({ id, text, label }) => ({ id, text, ...defined({ label }) }));
  });
}
