import { EspalierError } from '../../errors.ts';
import { transfer } from '../../runtime/host/comlink.ts';
import type { CallArguments, CallerPort, CallName, CallResult, Calls, Envelope, Remote, WorkerPort } from './port.ts';
import { Relay } from './relay.ts';
import { packError } from './wire-error.ts';

/** What a call is given beside its arguments: the caller's signal and callbacks, as options that local functions take. */
export interface Context {
  readonly id: number;
  readonly live: { readonly signal: AbortSignal } & Readonly<Record<string, unknown>>;
}

/** The functions behind the calls. */
export type Methods<C extends Calls<C>> = {
  readonly [K in CallName<C>]: (context: Context, ...args: CallArguments<C, K>) => ReturnType<C[K]>;
};

/** A call that is being answered. */
export interface Running {
  readonly name: string;
  readonly args: readonly unknown[];
  readonly abort: AbortController;
  /** Never rejects. */
  readonly done: Promise<unknown>;
}

/** Answers the calls of a line, in a worker of any kind: it makes their abort signals, relays callbacks and packs errors. */
export class Answers<C extends Calls<C>> implements WorkerPort<C> {
  /** By number. */
  readonly running: ReadonlyMap<number, Running>;
  readonly #running = new Map<number, Running>();
  readonly #caller: Remote<CallerPort>;
  readonly #methods: Methods<C>;
  readonly #moved: (value: unknown) => readonly ArrayBuffer[];

  /** @param moved buffers of a result that are moved to the caller instead of copied */
  constructor(
    caller: Remote<CallerPort>,
    methods: Methods<C>,
    moved: (value: unknown) => readonly ArrayBuffer[] = () => [],
  ) {
    this.running = this.#running;
    this.#caller = caller;
    this.#methods = methods;
    this.#moved = moved;
  }

  async call<K extends CallName<C>>(
    id: number,
    name: K,
    args: CallArguments<C, K>,
    callbacks: readonly string[],
  ): Promise<Envelope<CallResult<C, K>>> {
    const abort = new AbortController();
    const relays = callbacks.map((option) => {
      const relay = new Relay((values) => void this.#caller.event(id, option, values));
      return { option, relay };
    });
    const live = {
      signal: abort.signal,
      ...Object.fromEntries(relays.map(({ option, relay }) => [option, relay.call])),
    };
    try {
      // without an await before it: a message that comes later must find what this one has begun
      const work = (async () => this.#methods[name]({ id, live }, ...args))();
      this.#running.set(id, { name, args, abort, done: work.catch(() => {}) });
      const value = (await work) as CallResult<C, K>;
      return transfer({ value }, [...this.#moved(value)]);
    } catch (error) {
      // a worker that ends a call itself aborts it with the reason
      const { reason } = abort.signal;
      return { error: packError(reason instanceof EspalierError ? reason : error) };
    } finally {
      this.#running.delete(id);
      for (const { relay } of relays) relay.flush();
    }
  }

  abort(id: number): void {
    this.#running.get(id)?.abort.abort();
  }
}
