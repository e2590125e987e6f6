import type { LaneSeat } from '../device/wasm/lanes.ts';
import { EspalierError } from '../errors.ts';
import { expose, transfer, wrap } from '../runtime/comlink.ts';
import type { Host, WorkerHandle, WorkerKind } from '../runtime/host.ts';
import { LaneWorkers } from './lane-workers.ts';
import { type Callback, notCloneable } from './options.ts';
import type { CallArguments, CallerPort, CallName, CallResult, Calls, Envelope, Remote, WorkerPort } from './port.ts';
import { unpackError } from './wire-error.ts';

export interface CallOptions<T> {
  readonly signal?: AbortSignal | undefined;
  readonly callbacks?: Readonly<Record<string, Callback>>;
  /** Buffers among the arguments that are moved. */
  readonly transfer?: readonly Transferable[];
  /** What to do with a result that comes although the call has failed here. */
  readonly discard?: (value: T) => void;
}

/** What a line leads to. */
export interface LinkKind {
  readonly worker: Exclude<WorkerKind, 'lane'>;
  /** For messages: what to do when it is gone. */
  readonly again: string;
  /** For messages: what takes options that cannot cross. */
  readonly local: string;
}

interface Pending {
  readonly callbacks: Readonly<Record<string, Callback>>;
  readonly reject: (error: unknown) => void;
  /** What a callback threw. */
  thrown: { readonly error: unknown } | null;
}

/**
 * The line to a worker. Comlink never settles a call whose worker is gone, so the calls that wait are listed here. While one
 * waits, the worker keeps the process alive; otherwise a script that forgets to close ends by itself.
 */
export class WorkerLink<C extends Calls<C>> implements CallerPort {
  readonly #kind: LinkKind;
  readonly #worker: WorkerHandle;
  readonly #lanes: LaneWorkers;
  readonly #port: Remote<WorkerPort<C>>;
  readonly #pending = new Map<number, Pending>();
  #numbers = 0;
  /** Whether a call has been answered. */
  #started = false;
  #ended: EspalierError | null = null;

  /** @throws E_WORKER_LOST where the worker cannot be started; mostly that shows later, in the first call */
  constructor(
    host: Host,
    kind: LinkKind,
    locations: { readonly worker?: URL | undefined; readonly lane?: URL | undefined },
  ) {
    this.#kind = kind;
    const name = `${kind.worker} worker`;
    try {
      this.#worker = host.spawn(kind.worker, locations.worker);
    } catch (cause) {
      throw this.#lost(name, cause);
    }
    this.#worker.onLost((cause) => this.#lose(name, cause));
    this.#lanes = new LaneWorkers(host, locations.lane, (cause) => this.#lose('lane', cause));
    this.#port = wrap(this.#worker.endpoint) as unknown as Remote<WorkerPort<C>>;
    expose(this, this.#worker.endpoint);
  }

  /** A number for a stream, of the same kind as those of calls. */
  number(): number {
    return ++this.#numbers;
  }

  /** The error that every call meets: the line was ended, or its worker is gone. */
  get ended(): EspalierError | null {
    return this.#ended;
  }

  call<K extends CallName<C>>(
    name: K,
    args: CallArguments<C, K>,
    options: CallOptions<CallResult<C, K>> = {},
  ): Promise<CallResult<C, K>> {
    const { signal, callbacks = {} } = options;
    return new Promise((resolve, reject) => {
      if (this.#ended) return reject(this.#ended);
      if (signal?.aborted) return reject(aborted(signal));
      const id = this.number();
      const pending: Pending = { callbacks, reject: (error) => settle(() => reject(error)), thrown: null };
      const onAbort = () => this.abort(id);
      const settle = (how: () => void) => {
        if (!this.#pending.delete(id)) return;
        signal?.removeEventListener('abort', onAbort);
        if (this.#pending.size === 0) this.#worker.unref();
        how();
      };
      this.#pending.set(id, pending);
      this.#worker.ref();
      signal?.addEventListener('abort', onAbort);
      const sent = options.transfer?.length ? transfer(args, [...options.transfer]) : args;
      (this.#port.call(id, name, sent, Object.keys(callbacks)) as Promise<Envelope<CallResult<C, K>>>).then(
        (answer) => {
          this.#started = true;
          const { thrown } = pending;
          if (thrown) {
            if ('value' in answer) options.discard?.(answer.value);
            pending.reject(thrown.error);
          } else if ('value' in answer) settle(() => resolve(answer.value));
          else pending.reject(withReason(unpackError(answer.error), signal));
        },
        // no answer: the arguments could not be sent
        (error) =>
          pending.reject(isCloneError(error) ? notCloneable(`An argument of ${name}`, this.#kind.local, error) : error),
      );
    });
  }

  /** Aborts a call or a stream. */
  abort(id: number): void {
    if (!this.#ended) this.#port.abort(id).catch(() => {});
  }

  event(id: number, name: string, args: readonly unknown[]): void {
    const pending = this.#pending.get(id);
    if (!pending || pending.thrown) return;
    try {
      (pending.callbacks[name] as ((...args: readonly unknown[]) => void) | undefined)?.(...args);
    } catch (error) {
      // as in one thread, where it would come out of the call
      pending.thrown = { error };
      this.abort(id);
    }
  }

  spawnLane(seat: LaneSeat): Promise<void> {
    return this.#lanes.spawn(seat);
  }

  /** Ends the workers; calls that wait, and later ones, reject with `error`. */
  async end(error: EspalierError): Promise<void> {
    this.#ended ??= error;
    for (const { reject } of [...this.#pending.values()]) reject(this.#ended);
    await Promise.all([this.#worker.terminate(), this.#lanes.terminate()]);
  }

  #lose(what: string, cause: unknown): void {
    if (!this.#ended) void this.end(this.#lost(what, cause));
  }

  #lost(what: string, cause: unknown): EspalierError {
    const [happened, hint] = this.#started
      ? ['is gone', this.#kind.again]
      : [
          'could not be started',
          'Check that the package’s workers are where it, or workerLocation or laneLocation, says.',
        ];
    return new EspalierError('E_WORKER_LOST', `The ${what} ${happened}.`, hint, { cause });
  }

  /** For tests: what runs. Nothing else may reach for it. */
  workers(): { readonly worker: WorkerHandle; readonly lanes: readonly WorkerHandle[] } {
    return { worker: this.#worker, lanes: this.#lanes.handles };
  }
}

/** Node refuses Blobs of files with an error of its own. */
function isCloneError(error: unknown): boolean {
  return error instanceof Error && (error.name === 'DataCloneError' || error.message.includes('not cloneable'));
}

/** The caller's own reason behind E_ABORTED, not a copy of it. */
function withReason(error: unknown, signal: AbortSignal | undefined): unknown {
  return signal?.aborted && error instanceof EspalierError && error.code === 'E_ABORTED' ? aborted(signal) : error;
}

/** The error of a call whose signal has fired. */
export function aborted(signal: AbortSignal): EspalierError {
  return new EspalierError('E_ABORTED', 'The operation was aborted.', 'Start it again when it is wanted.', {
    cause: signal.reason,
  });
}
