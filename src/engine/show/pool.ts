import { EspalierError } from '../../errors.ts';
import type { PrefixMode, Shot, StorageType } from '../../show/types.ts';
import type { Owned } from '../line/owned.ts';
import { unpackError } from '../line/wire-error.ts';
import type { Model } from '../model/model.ts';
import type { SignalOption } from '../model/options.ts';
import { poolCallbacks } from './hearers.ts';
import { parted, type Source, setSource, shownModel } from './line.ts';
import { type PoolOptions, storePlace } from './options.ts';
import type { PoolFacts, PoolState, ShowCalls } from './protocol.ts';

/** Of a pool as it stands. */
export interface PoolStats extends Omit<PoolState, 'warnings'> {
  /** What went wrong and cost time alone: the store's first failure. */
  readonly warnings: readonly EspalierError[];
}

/**
 * Examples of a task over a model, in the engine's worker; as `ShotPool` of `espalier/show`. Their keys and values are computed when they
 * are first needed, held on the device within limits, and kept in a store between runs.
 *
 * Any call may reject with E_DISPOSED when the pool, its model or the engine is closed, and with E_WORKER_LOST.
 */
export class ShotPool {
  readonly prefix: PrefixMode;
  readonly storage: StorageType;
  /** Whether what is encoded outlives the engine: there is a store, and it is no memory. */
  readonly isKept: boolean;
  readonly #held: Owned<ShowCalls>;
  readonly #callbacks: Source['callbacks'];

  private constructor(source: Source, { prefix, storage, isKept }: PoolFacts) {
    this.prefix = prefix;
    this.storage = storage;
    this.isKept = isKept;
    this.#held = source.held;
    this.#callbacks = source.callbacks;
    setSource(this, source);
  }

  /**
   * Takes the shots in and encodes the first of them (`grow.initial`).
   * @param model opened with `show: true`
   * @throws E_ARGUMENT, E_CONTEXT_LENGTH, E_OUT_OF_MEMORY, E_ABORTED, E_DISPOSED, E_WORKER_LOST
   */
  static async build(model: Model, shots: readonly Shot[], options: PoolOptions = {}): Promise<ShotPool> {
    const on = shownModel(model);
    const { data, signal, callbacks: own } = parted(options, 'ShotPool.build');
    storePlace.check(data.store ?? null, 'store');
    const callbacks = poolCallbacks(own);
    const facts = await on.call('pool', [on.number, shots, data], {
      signal,
      callbacks,
      said: 'ShotPool.build',
      discard: ({ pool }) => on.link.drop(pool),
    });
    return new ShotPool({ held: on.part(facts.pool, closed), callbacks }, facts);
  }

  /** Sizes, the store, and what went wrong. */
  async stats(): Promise<PoolStats> {
    const { warnings, ...state } = await this.#held.call('state', [this.#held.number]);
    return { ...state, warnings: warnings.map((one) => unpackError(one) as EspalierError) };
  }

  /**
   * Adds shots; they are encoded when they are needed. Nothing is added when it throws.
   * @throws E_ARGUMENT for an id that is there or stands twice, or a shot without text; E_CONTEXT_LENGTH for one that is too long
   */
  async add(shots: readonly Shot[]): Promise<void> {
    await this.#held.call('change', [this.#held.number, { add: shots }], { said: 'add' });
  }

  /** @throws E_ARGUMENT for an id that is not there; nothing is removed then */
  async remove(ids: readonly string[]): Promise<void> {
    await this.#held.call('change', [this.#held.number, { remove: ids }], { said: 'remove' });
  }

  /** Puts a shot in the place of the one with its id. @throws E_ARGUMENT, E_CONTEXT_LENGTH; nothing is changed then */
  async replace(shot: Shot): Promise<void> {
    await this.#held.call('change', [this.#held.number, { replace: shot }], { said: 'replace' });
  }

  /**
   * Encodes all shots of the pool, or these, and holds as many as the limits allow: all can be ranked by their keys then.
   * @throws E_ARGUMENT for an unknown id, E_OUT_OF_MEMORY, E_ABORTED
   */
  async prepare(ids?: readonly string[], options: SignalOption = {}): Promise<void> {
    const { data, signal, callbacks: own } = parted(options, 'ShotPool.prepare');
    const callbacks = { ...this.#callbacks, ...own };
    await this.#held.call('prepare', [this.#held.number, ids, data], { signal, callbacks });
  }

  /** Frees keys and values. The model stays open; what is asked over the pool ends with E_DISPOSED. */
  close(): Promise<void> {
    return this.#held.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function closed(): EspalierError {
  return new EspalierError('E_DISPOSED', 'The pool is closed.', 'Build it again.');
}
