import { EspalierError } from '../errors.ts';
import { checked, filled } from '../options/check.ts';
import type { ModelTarget } from '../runtime/files/model-files.ts';
import { host } from '../runtime/host/host.ts';
import { laneCount } from '../runtime/host/lane-count.ts';
import { aborted, WorkerLink } from './line/link.ts';
import { partOptions, placeOf, wireAdapters, wireTarget } from './line/parted-options.ts';
import { Model } from './model/model.ts';
import { type DeviceFacts, ENGINE, type EngineCalls, type EngineLink, type EngineStats } from './model/protocol.ts';
import { type EngineOpenOptions, type EngineOptions, engineOpenOptions, engineOptions } from './options.ts';
import { SHOW } from './show/protocol.ts';

/**
 * A worker thread that computes, with its lanes and its memory. Models on one engine share both and take turns token by token; a
 * second engine has its own.
 */
export class Engine {
  readonly #link: EngineLink;
  #device: DeviceFacts;

  private constructor(link: EngineLink, device: DeviceFacts) {
    this.#link = link;
    this.#device = device;
  }

  /** What computes, for people: `device`, and of the CPU instruction set and micro-kernels, of a GPU its name and features. */
  get description(): Readonly<Record<string, string>> {
    return this.#device.description;
  }

  /** Threads that compute. */
  get lanes(): number {
    return this.#device.lanes;
  }

  /** @throws E_ARGUMENT, E_NO_ISOLATION, E_DEVICE_UNSUPPORTED, E_FILE_NOT_FOUND, E_OUT_OF_MEMORY, E_ABORTED, E_WORKER_LOST */
  static async create(options: EngineOptions = {}): Promise<Engine> {
    const given = filled(engineOptions, checked<EngineOptions>(engineOptions, options, 'Engine.create'));
    const { device: kind, relaxed, memoryLimit, signal } = given;
    const wasm = placeOf(given.wasmLocation, true);
    const places = { worker: placeOf(given.workerLocation), lane: placeOf(given.laneLocation) };
    const on = await host();
    if (signal?.aborted) throw aborted(signal);
    // a GPU needs none
    const lanes = kind === 'webgpu' ? 1 : laneCount(given.lanes, on);
    const link = new WorkerLink<EngineCalls>(on, given.show ? SHOW : ENGINE, places);
    try {
      const device = {
        device: kind,
        lanes,
        ...(relaxed === undefined ? {} : { relaxed }),
        ...(memoryLimit === undefined ? {} : { memoryLimit }),
        ...(wasm ? { wasmLocation: wasm.href } : {}),
      };
      const facts = await link.call('create', [device], { signal });
      const engine = new Engine(link, facts);
      links.set(engine, link);
      return engine;
    } catch (error) {
      await link.end(closedError());
      throw error;
    }
  }

  /**
   * Opens a model: a folder with config.json, model.safetensors and tokenizer.json, or one GGUF file; as a path, URL, Blob, bytes,
   * or files by name. Bytes are copied unless `transfer` gives them away.
   * @throws E_FILE_NOT_FOUND, E_CHECKPOINT_…, E_CONFIG_INVALID, E_ARCHITECTURE_UNSUPPORTED, E_TENSOR_…, E_TOKENIZER_INVALID,
   *   E_ADAPTER, E_OUT_OF_MEMORY, E_ABORTED, E_DISPOSED, E_WORKER_LOST; nothing stays allocated then
   */
  async open(target: ModelTarget, options: EngineOpenOptions = {}): Promise<Model> {
    const given = checked<EngineOpenOptions>(engineOpenOptions, options, 'open');
    const { transfer: give = false, adapters, ...rest } = given;
    const { data, signal, callbacks } = partOptions(rest);
    const wire = wireTarget(target, give);
    const added = wireAdapters(adapters ?? [], give);
    const facts = await this.#link.call('open', [wire.target, { ...data, adapters: added.adapters }], {
      signal,
      callbacks,
      transfer: [...wire.transfer, ...added.transfer],
      discard: ({ model }) => this.#link.drop(model),
    });
    this.#device = facts.device;
    return new Model(this.#link, this, facts);
  }

  /** Memory and what is open, once all calls before are answered as far as they go. @throws E_DISPOSED, E_WORKER_LOST */
  async stats(): Promise<EngineStats> {
    await this.#link.settled();
    return this.#link.call('stats', []);
  }

  /** Ends the threads, whatever they do, and frees all memory. Calls that wait reject with E_DISPOSED. */
  async close(): Promise<void> {
    await this.#link.end(closedError());
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

const links = new WeakMap<Engine, EngineLink>();

/** The line behind an engine, for tests that cut it. */
export function linkOf(engine: Engine): EngineLink {
  return links.get(engine)!;
}

function closedError(): EspalierError {
  return new EspalierError('E_DISPOSED', 'The engine is closed.', 'Create another one.');
}
