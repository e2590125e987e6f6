import { EspalierError } from '../../errors.ts';
import { expose, transfer, wrap } from '../../runtime/host/comlink.ts';
import type { Endpoint, Host, WorkerHandle, WorkerKind } from '../../runtime/host/types.ts';
import { LaneWorkers } from './lane-workers.ts';
import { type Callback, notCloneable } from './parted-options.ts';
import type {
  CallArguments,
  CallerPort,
  CallName,
  CallResult,
  Calls,
  Envelope,
  LentLane,
  Remote,
  WorkerPort,
} from './port.ts';
import { briefly, GRACE, isHeartbeat, unref, Watchdog } from './watchdog.ts';
import { unpackError } from './wire-error.ts';

export interface CallOptions<T> {
  readonly signal?: AbortSignal | undefined;
  /** What is aborted in the call's place: the stream that it is a part of. */
  readonly stream?: number;
  /** Numbers of what the call works on: it ends when one of them is closed. */
  readonly owners?: readonly number[];
  /** Whether it ends what others compute, see `settled`. */
  readonly ends?: boolean;
  /** When its signal fires: waits until the worker has ended it, however long that takes, since it has something to keep. */
  readonly patient?: boolean;
  /** Gives out a result although the signal fired before it came: it cannot be taken back. */
  readonly keepLate?: boolean;
  readonly callbacks?: Readonly<Record<string, Callback>>;
  /** What the caller has called, for messages, where that is no call of this name. */
  readonly said?: string;
  /** Buffers among the arguments that are moved. */
  readonly transfer?: readonly ArrayBuffer[];
  /** What to do with a result that comes although the call has failed here. */
  readonly discard?: ((value: T) => void) | undefined;
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
  readonly owners: readonly number[];
  readonly callbacks: Readonly<Record<string, Callback>>;
  readonly reject: (error: unknown) => void;
  /** Tells the worker to end it, and rejects with `why` when that takes too long. */
  readonly stop: (why: () => unknown) => void;
  /** What a callback threw. */
  thrown: { readonly error: unknown } | null;
}

/**
 * The line to a worker. A call whose signal has fired is settled by the worker, which ends its work in order, or after `GRACE`; the worker
 * is then watched until it has answered, and ended when it is stuck. Comlink never settles a call whose worker is gone, so the calls that wait are listed here. While one
 * waits, the worker keeps the process alive; otherwise a script that forgets to close ends by itself.
 */
export class WorkerLink<C extends Calls<C>> implements CallerPort {
  readonly #kind: LinkKind;
  readonly #worker: WorkerHandle;
  readonly #lanes: LaneWorkers;
  readonly #port: Remote<WorkerPort<C>>;
  readonly #pending = new Map<number, Pending>();
  readonly #watchdog: Watchdog;
  /** Work that nobody waits for and that the worker has not ended yet: calls that were aborted, and those that end others. */
  readonly #ending = new Map<number, { readonly over: Promise<void>; readonly end: () => void }>();
  /** Who waits in `settled`. */
  #waiting = 0;
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
    const { endpoint } = this.#worker;
    this.#port = wrap(telling(endpoint)) as unknown as Remote<WorkerPort<C>>;
    this.#watchdog = new Watchdog(
      () => this.#port.abort(0) as Promise<void>, // of no call: any message will do
      () => this.#stuck(),
    );
    endpoint.addEventListener('message', (event) => {
      if (isHeartbeat((event as MessageEvent<unknown>).data)) this.#watchdog.beat();
      else this.#watchdog.heard();
    });
    expose(this, endpoint);
  }

  /** What it leads to. */
  get kind(): LinkKind {
    return this.#kind;
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
    const { signal, stream, owners = [], callbacks = {}, discard } = options;
    return new Promise((resolve, reject) => {
      if (this.#ended) return reject(this.#ended);
      if (signal?.aborted) return reject(aborted(signal));
      const id = this.number();
      let timer: ReturnType<typeof setTimeout> | undefined;
      const pending: Pending = {
        owners,
        callbacks,
        reject: (error) => settle(() => reject(error)),
        stop: (why) => {
          this.abort(stream ?? id);
          this.#watchdog.watch(id);
          this.#ends(id);
          if (options.patient) return;
          timer ??= setTimeout(() => pending.reject(why()), GRACE);
          unref(timer);
        },
        thrown: null,
      };
      const onAbort = () => pending.stop(() => aborted(signal!));
      if (options.ends) this.#ends(id);
      const settle = (how: () => void): boolean => {
        if (!this.#pending.delete(id)) return false;
        clearTimeout(timer);
        signal?.removeEventListener('abort', onAbort);
        this.#letGo();
        how();
        return true;
      };
      this.#pending.set(id, pending);
      this.#worker.ref();
      signal?.addEventListener('abort', onAbort);
      const sent = options.transfer?.length ? transfer(args, [...options.transfer]) : args;
      (this.#port.call(id, name, sent, Object.keys(callbacks), owners) as Promise<Envelope<CallResult<C, K>>>).then(
        (answer) => {
          this.#started = true;
          this.#over(id);
          const { thrown } = pending;
          const isLate = signal?.aborted === true && options.keepLate !== true;
          if (thrown) pending.reject(thrown.error);
          else if (isLate) pending.reject(aborted(signal));
          else if ('value' in answer) {
            if (settle(() => resolve(answer.value))) return;
          } else pending.reject(withReason(unpackError(answer.error), signal));
          if ('value' in answer) discard?.(answer.value);
        },
        (error) => {
          this.#over(id);
          const what = `An argument of ${options.said ?? name}`;
          pending.reject(error instanceof Unsent ? notCloneable(what, this.#kind.local, error.cause) : error);
        },
      );
    });
  }

  /**
   * Has the worker `close` what has this number, which ends what is computed on it: resolves within about `GRACE`, also where the worker is
   * too busy to hear of it before. Calls on it reject with `error` then at the latest, and a worker that is stuck in one of them is ended.
   */
  async retire(number: number, error: EspalierError): Promise<void> {
    const mine = () => [...this.#pending].filter(([, pending]) => pending.owners.includes(number));
    const isBusy = mine().length > 0;
    const call = this.#close(number, { ends: true });
    const watched = isBusy ? this.number() : 0;
    if (isBusy) this.#watchdog.watch(watched);
    const over = call.then(
      () => this.#watchdog.release(watched),
      () => this.#watchdog.release(watched),
    );
    await briefly(over);
    for (const [, { reject }] of mine()) reject(error);
  }

  /** Has the worker `close` what nobody was given. */
  drop(number: number): void {
    this.#close(number).catch(() => {});
  }

  #close(number: number, options: CallOptions<unknown> = {}): Promise<unknown> {
    return this.call('close' as CallName<C>, [number] as unknown as CallArguments<C, CallName<C>>, options);
  }

  /** Resolves when what was aborted or closed has ended in the worker, or with the line. */
  async settled(): Promise<void> {
    if (this.#ending.size === 0) return;
    this.#waiting++;
    this.#worker.ref();
    while (this.#ending.size > 0) await Promise.all([...this.#ending.values()].map(({ over }) => over));
    this.#waiting--;
    this.#letGo();
  }

  /** The worker keeps the process no longer when nobody waits for it. */
  #letGo(): void {
    if (this.#pending.size === 0 && this.#waiting === 0) this.#worker.unref();
  }

  #ends(id: number): void {
    if (this.#ending.has(id)) return;
    let end = (): void => {};
    const over = new Promise<void>((resolve) => {
      end = resolve;
    });
    this.#ending.set(id, { over, end });
  }

  #over(id: number): void {
    this.#watchdog.release(id);
    this.#ending.get(id)?.end();
    this.#ending.delete(id);
  }

  /** Aborts a call or a stream. */
  abort(id: number): void {
    if (!this.#ended) this.#port.abort(id).catch(() => {});
  }

  async event(id: number, name: string, args: readonly Envelope<unknown>[]): Promise<void> {
    const pending = this.#pending.get(id);
    if (!pending || pending.thrown) return;
    try {
      const values = args.map((arg) => ('error' in arg ? unpackError(arg.error) : arg.value));
      await (pending.callbacks[name] as ((...args: readonly unknown[]) => unknown) | undefined)?.(...values);
    } catch (error) {
      // as in one thread, where it would come out of the call
      pending.thrown ??= { error };
      pending.stop(() => error);
    }
  }

  spawnLane(lane: LentLane): Promise<void> {
    return this.#lanes.spawn(lane);
  }

  /** Ends the workers; calls that wait, and later ones, reject with `error`. @returns whether they are gone already */
  async end(error: EspalierError): Promise<boolean> {
    this.#ended ??= error;
    this.#watchdog.end();
    for (const { reject } of [...this.#pending.values()]) reject(this.#ended);
    for (const id of [...this.#ending.keys()]) this.#over(id);
    // the system may hold a thread back, in a file that never opens
    return briefly(Promise.all([this.#worker.terminate(), this.#lanes.terminate()]));
  }

  #stuck(): void {
    const error = new EspalierError(
      'E_WORKER_LOST',
      `The ${this.#kind.worker} worker was ended: it was busy with one long operation and did not answer when a call was aborted or a model closed.`,
      this.#kind.again,
    );
    if (!this.#ended) void this.end(error);
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

/** A message could not be sent: something in it cannot be cloned, or threw when it was looked at. */
class Unsent extends Error {}

/** The same line, whose failures to send are told from what the worker answers. */
function telling(endpoint: Endpoint): Endpoint {
  return {
    postMessage: (message, transfer) => {
      try {
        endpoint.postMessage(message, transfer);
      } catch (cause) {
        throw new Unsent('The message could not be sent.', { cause });
      }
    },
    addEventListener: (type, listener) => endpoint.addEventListener(type, listener),
    removeEventListener: (type, listener) => endpoint.removeEventListener(type, listener),
  };
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
