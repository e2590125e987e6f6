import { WasmDevice } from '../device/wasm/wasm-device.ts';
import { EspalierError } from '../errors.ts';
import type { LocalModel } from '../model/model.ts';
import { openLocal } from '../open-local.ts';
import { type Endpoint, expose, transfer, wrap } from '../runtime/comlink.ts';
import type {
  CallArguments,
  CallerPort,
  CallName,
  CallResult,
  EngineCalls,
  EnginePort,
  Envelope,
  Remote,
} from './protocol.ts';
import { Relay } from './relay.ts';
import { RunAhead } from './run-ahead.ts';
import { packError } from './wire-error.ts';

/** A call that is being answered. */
interface Running {
  readonly abort: AbortController;
  /** The model it works with. */
  model: number | null;
  readonly done: Promise<unknown>;
}

interface OpenModel {
  readonly local: LocalModel;
  /** Streams by number. */
  readonly streams: Map<number, RunAhead>;
}

/** What a call is given beside its arguments: the caller's signal and callbacks, as options that local functions take. */
interface Context {
  readonly id: number;
  readonly live: { readonly signal: AbortSignal } & Readonly<Record<string, unknown>>;
}

type Methods = { [K in CallName]: (context: Context, ...args: CallArguments<K>) => ReturnType<EngineCalls[K]> };

/** The engine worker: one device, its models, and the calls and streams that run on them. */
export class EngineService implements EnginePort {
  readonly #caller: Remote<CallerPort>;
  readonly #models = new Map<number, OpenModel>();
  readonly #running = new Map<number, Running>();
  #device: WasmDevice | null = null;
  #lanes = 1;

  constructor(caller: Remote<CallerPort>) {
    this.#caller = caller;
  }

  async call<K extends CallName>(
    id: number,
    name: K,
    args: CallArguments<K>,
    callbacks: readonly string[],
  ): Promise<Envelope<CallResult<K>>> {
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
      this.#running.set(id, { abort, model: modelOf(name, args), done: work.catch(() => {}) });
      const value = (await work) as CallResult<K>;
      return transferred(value);
    } catch (error) {
      // a model that was closed under a call aborts it with the reason
      const { reason } = abort.signal;
      return { error: packError(reason instanceof EspalierError ? reason : error) };
    } finally {
      this.#running.delete(id);
      for (const { relay } of relays) relay.flush();
    }
  }

  abort(id: number): void {
    this.#running.get(id)?.abort.abort();
    this.#stream(id)?.stream.abort();
  }

  readonly #methods: Methods = {
    create: async (_, { lanes, wasmLocation, ...options }) => {
      const device = await WasmDevice.create({
        ...options,
        ...(wasmLocation === undefined ? {} : { wasmLocation: new URL(wasmLocation) }),
        ...(lanes > 1 ? { lanes, spawnLane: (seat) => this.#caller.spawnLane(seat) } : {}),
      });
      this.#device = device;
      this.#lanes = lanes;
      return { description: device.description, lanes };
    },

    stats: () => {
      let generations = 0;
      for (const { streams } of this.#models.values()) generations += streams.size;
      return { ...this.#device!.stats(), models: this.#models.size, generations, lanes: this.#lanes };
    },

    open: async ({ id, live }, target, options) => {
      const local = await openLocal(target, { ...options, ...live, device: this.#device! });
      this.#models.set(id, { local, streams: new Map() });
      const { name, config, eosIds, tokenizer } = local;
      return { model: id, name, config, bosId: tokenizer.bosId, eosIds, vocabSize: tokenizer.vocabSize };
    },

    close: async (context, model) => {
      const open = this.#models.get(model);
      if (!open) return;
      this.#models.delete(model);
      const others = [...this.#running].filter(([id, call]) => id !== context.id && call.model === model);
      for (const [, { abort }] of others) abort.abort(closed());
      for (const stream of open.streams.values()) stream.abort(closed());
      await Promise.all([...others.map(([, { done }]) => done), ...[...open.streams.values()].map((s) => s.done)]);
      open.local.close();
    },

    encode: (_, model, text, options) => this.#model(model).encode(text, options),
    encodeChat: (_, model, messages, options) => this.#model(model).encodeChat(messages, options),
    decode: (_, model, ids, options) => this.#model(model).tokenizer.decode(ids, options),
    score: ({ live }, model, text, options) => this.#model(model).score(text, { ...options, ...live }),
    embed: ({ live }, model, input, options) => this.#model(model).embed(input, { ...options, ...live }),

    next: async (_, id, start) => {
      if (start) {
        const abort = new AbortController();
        const { prompt, options } = start;
        const generation = this.#model(start.model).generate(prompt, { ...options, signal: abort.signal });
        this.#models.get(start.model)!.streams.set(id, new RunAhead(generation, abort));
      }
      const found = this.#stream(id);
      if (!found) throw closed();
      const batch = await found.stream.take();
      if (batch.finish || batch.error) found.streams.delete(id);
      return batch;
    },

    stop: async (_, id) => {
      const found = this.#stream(id);
      found?.streams.delete(id);
      await found?.stream.stop();
    },
  };

  #model(number: number): LocalModel {
    const open = this.#models.get(number);
    if (!open) throw closed();
    return open.local;
  }

  #stream(id: number): { stream: RunAhead; streams: Map<number, RunAhead> } | null {
    for (const { streams } of this.#models.values()) {
      const stream = streams.get(id);
      if (stream) return { stream, streams };
    }
    return null;
  }
}

/** Answers the caller at the other end of the line, and calls him back over the same line. */
export function serve(endpoint: Endpoint): void {
  expose(new EngineService(wrap(endpoint) as unknown as Remote<CallerPort>), endpoint);
}

/** Calls that compute with a model, which must not be freed under them. */
function modelOf(name: CallName, args: readonly unknown[]): number | null {
  return name === 'score' || name === 'embed' ? (args[0] as number) : null;
}

/** Vectors are moved, not copied. */
function transferred<T>(value: T): { value: T } {
  const list = Array.isArray(value) ? value.filter((item) => item instanceof Float32Array) : [];
  return transfer(
    { value },
    list.map((vector) => vector.buffer),
  );
}

function closed(): EspalierError {
  return new EspalierError('E_DISPOSED', 'The model is closed.', 'Open it again.');
}
