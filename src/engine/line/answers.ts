import { EspalierError } from '../../errors.ts';
import { transfer } from '../../runtime/host/comlink.ts';
import type { Holdings } from './holdings.ts';
import type { CallArguments, CallerPort, CallName, CallResult, Calls, Envelope, Remote, WorkerPort } from './port.ts';
import { Relay } from './relay.ts';
import { packError } from './wire-error.ts';

/** What a call is given beside its arguments: the caller's signal and callbacks, as options that local functions take. */
export interface Context {
  readonly id: number;
  /** Numbers of what it works on. */
  readonly owners: readonly number[];
  readonly live: { readonly signal: AbortSignal } & Readonly<Record<string, unknown>>;
}

/** The functions behind the calls. */
export type Methods<C extends Calls<C>> = {
  readonly [K in CallName<C>]: (context: Context, ...args: CallArguments<C, K>) => ReturnType<C[K]>;
};

/** Answers the calls of a line, in a worker of any kind: it makes their abort signals, relays callbacks and packs errors. */
export class Answers<C extends Calls<C>> implements WorkerPort<C> {
  readonly #caller: Remote<CallerPort>;
  readonly #holdings: Holdings;
  readonly #methods: Methods<C>;

  constructor(caller: Remote<CallerPort>, holdings: Holdings, methods: Methods<C>) {
    this.#caller = caller;
    this.#holdings = holdings;
    this.#methods = methods;
  }

  async call<K extends CallName<C>>(
    id: number,
    name: K,
    args: CallArguments<C, K>,
    callbacks: readonly string[],
    owners: readonly number[],
  ): Promise<Envelope<CallResult<C, K>>> {
    const { running } = this.#holdings;
    const abort = new AbortController();
    const relays = callbacks.map((option) => {
      const relay = new Relay((values) => this.#caller.event(id, option, values.map(packed)));
      return { option, relay };
    });
    const live = {
      signal: abort.signal,
      ...Object.fromEntries(relays.map(({ option, relay }) => [option, relay.call])),
    };
    try {
      // without an await before it: a message that comes later must find what this one has begun
      const work = (async () => this.#methods[name]({ id, owners, live }, ...args))();
      running.set(id, { owners, abort, done: work.catch(() => {}) });
      const value = (await work) as CallResult<C, K>;
      return transfer({ value }, vectorsOf(value));
    } catch (error) {
      // a worker that ends a call itself aborts it with the reason
      const { reason } = abort.signal;
      return { error: packError(reason instanceof EspalierError ? reason : error) };
    } finally {
      running.delete(id);
      for (const { relay } of relays) relay.flush();
    }
  }

  abort(id: number): void {
    this.#holdings.abort(id);
  }
}

/** Errors among the arguments of a callback keep their code. */
function packed(value: unknown): Envelope<unknown> {
  return value instanceof Error ? { error: packError(value) } : { value };
}

/** Vectors of a result are moved to the caller, not copied. */
function vectorsOf(value: unknown): ArrayBuffer[] {
  if (!Array.isArray(value)) return [];
  return value
    .filter((item) => item instanceof Float32Array)
    .map((vector: Float32Array) => vector.buffer as ArrayBuffer);
}
