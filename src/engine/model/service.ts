import type { Device } from '../../device/device.ts';
import { openDevice } from '../../device/open-device.ts';
import { EspalierError } from '../../errors.ts';
import type { LocalModel } from '../../model/model.ts';
import { openWith } from '../../open-local.ts';
import { expose, wrap } from '../../runtime/host/comlink.ts';
import { onHeartbeat } from '../../runtime/host/heartbeat.ts';
import type { Endpoint } from '../../runtime/host/types.ts';
import { Answers, type Methods, type Running } from '../line/answers.ts';
import { lentLanes } from '../line/lent-lanes.ts';
import type {
  CallArguments,
  CallerPort,
  CallName,
  CallResult,
  Envelope,
  Heartbeat,
  Remote,
  WorkerPort,
} from '../line/port.ts';
import type { EngineCalls } from './protocol.ts';
import { RunAhead } from './run-ahead.ts';

interface OpenModel {
  readonly local: LocalModel;
  /** Streams by number. */
  readonly streams: Map<number, RunAhead>;
}

/** The engine worker: one device, its models, and the calls and streams that run on them. */
export class EngineService implements WorkerPort<EngineCalls> {
  readonly #caller: Remote<CallerPort>;
  readonly #answers: Answers<EngineCalls>;
  readonly #models = new Map<number, OpenModel>();
  #device: Device | null = null;
  #lanes = 1;

  constructor(caller: Remote<CallerPort>) {
    this.#caller = caller;
    this.#answers = new Answers(caller, this.#methods, vectorsOf);
  }

  call<K extends CallName<EngineCalls>>(
    id: number,
    name: K,
    args: CallArguments<EngineCalls, K>,
    callbacks: readonly string[],
  ): Promise<Envelope<CallResult<EngineCalls, K>>> {
    return this.#answers.call(id, name, args, callbacks);
  }

  abort(id: number): void {
    this.#answers.abort(id);
    this.#stream(id)?.stream.abort();
  }

  readonly #methods: Methods<EngineCalls> = {
    create: async (_, { lanes, wasmLocation, ...options }) => {
      const device = await openDevice('auto', {
        ...options,
        ...(wasmLocation === undefined ? {} : { wasmLocation: new URL(wasmLocation) }),
        ...(lanes > 1 ? { lanes, spawnLane: lentLanes(this.#caller) } : {}),
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
      // nothing of the engine asks for the identity
      const opening = { ...options, ...live, device: this.#device! };
      const local = await openWith(target, opening, { withIdentity: false });
      this.#models.set(id, { local, streams: new Map() });
      const { name, config, eosIds, notes, tokenizer } = local;
      return { model: id, name, config, bosId: tokenizer.bosId, eosIds, vocabSize: tokenizer.vocabSize, notes };
    },

    close: async (context, model) => {
      const open = this.#models.get(model);
      if (!open) return;
      this.#models.delete(model);
      const others = [...this.#answers.running].filter(([id, call]) => id !== context.id && modelOf(call) === model);
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
  onHeartbeat(() => endpoint.postMessage({ heartbeat: true } satisfies Heartbeat));
  expose(new EngineService(wrap(endpoint) as unknown as Remote<CallerPort>), endpoint);
}

/** The model that a call computes with, and that must not be freed under it. */
function modelOf({ name, args }: Running): number | null {
  return name === 'score' || name === 'embed' ? (args[0] as number) : null;
}

function vectorsOf(value: unknown): ArrayBuffer[] {
  if (!Array.isArray(value)) return [];
  return value
    .filter((item) => item instanceof Float32Array)
    .map((vector: Float32Array) => vector.buffer as ArrayBuffer);
}

function closed(): EspalierError {
  return new EspalierError('E_DISPOSED', 'The model is closed.', 'Open it again.');
}
