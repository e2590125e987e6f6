import { exclusive } from '../device/exclusive.ts';
import { EspalierError, throwIfAborted } from '../errors.ts';
import type { KvCache } from '../model/kv-cache.ts';
import type { LocalModel } from '../model/model.ts';
import { runBranches } from './branches.ts';
import type { Continuation, PlacedShots } from './context.ts';
import type { Branch, Shot, UseHidden } from './types.ts';
import { type Entry, entryOf, prefixIds } from './units.ts';

export interface ChainOptions {
  /** Stands once, behind the begin-of-text token and before all shots. Default: none. */
  readonly instruction?: string;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * Shots in one order, computed once under ordinary causal attention. Every count of them is exactly what a prompt with so many would
 * give, for nothing but the query's own tokens; in return the shots and their order are the same for every query.
 */
export class Chain implements PlacedShots {
  readonly model: LocalModel;
  readonly prefix: readonly number[];
  readonly placed: readonly Shot[];
  readonly #entries: readonly Entry[];
  /** Row behind the prefix and so many shots. */
  readonly #ends: readonly number[];
  readonly #cache: KvCache;
  #closed = false;

  private constructor(model: LocalModel, prefix: readonly number[], entries: readonly Entry[], cache: KvCache) {
    this.model = model;
    this.prefix = prefix;
    this.placed = entries.map(({ shot }) => shot);
    this.#entries = entries;
    const ends = [prefix.length];
    for (const { ids } of entries) ends.push(ends.at(-1)! + ids.length);
    this.#ends = ends;
    this.#cache = cache;
  }

  /** @throws E_ARGUMENT, E_CONTEXT_LENGTH when the shots do not fit, E_OUT_OF_MEMORY, E_ABORTED, E_DISPOSED */
  static async create(model: LocalModel, shots: readonly Shot[], options: ChainOptions = {}): Promise<Chain> {
    throwIfAborted(options.signal);
    model.checkOpen();
    const prefix = prefixIds(model, options.instruction);
    const context = model.config.maxPositions;
    const entries = shots.map((shot) => entryOf(model, shot, prefix.length, context));
    const ids = [...prefix, ...entries.flatMap((entry) => entry.ids)];
    if (ids.length >= context) {
      throw new EspalierError(
        'E_CONTEXT_LENGTH',
        `The chain has ${ids.length} tokens, and the context of the model ${context}.`,
        'Take fewer shots.',
      );
    }
    return exclusive(model.device, async () => {
      const cache = model.decoder.cache(0, Number.MAX_SAFE_INTEGER);
      try {
        if (ids.length > 0) {
          const { signal, onProgress } = options;
          await model.decoder.forward(ids, cache, { output: 'last', signal, onProgress });
        }
        return new Chain(model, prefix, entries, cache);
      } catch (error) {
        cache.dispose();
        throw error;
      }
    });
  }

  get byteLength(): number {
    return this.#cache.byteLength;
  }

  tokens(count: number): readonly number[] {
    this.#end(count);
    return this.#entries.slice(0, count).flatMap(({ ids }) => ids);
  }

  isCausal(): boolean {
    return true;
  }

  branches<T>(list: readonly Branch[], use: UseHidden<T>, signal?: AbortSignal): Promise<T> {
    return exclusive(this.model.device, async () => {
      this.#check();
      const plans = list.map(({ ids, shots }) => {
        const end = this.#end(shots);
        return { ids, position: end, shots: { first: 0, end }, others: [] };
      });
      return runBranches(this.model.decoder, this.#cache, plans, use, { factor: 1, signal });
    });
  }

  /** A copy of the first so many shots: the chain stays whole. */
  async continueAt(shots: number): Promise<Continuation> {
    return exclusive(this.model.device, async () => {
      this.#check();
      const position = this.#end(shots);
      const cache = this.model.decoder.cache();
      cache.copyFrom(this.#cache, position);
      return { cache, position, options: () => ({}), end: () => cache.dispose() };
    });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#cache.dispose();
  }

  #end(count: number): number {
    const end = this.#ends[count];
    if (end !== undefined) return end;
    throw new EspalierError(
      'E_ARGUMENT',
      `There are no ${count} shots in a chain of ${this.placed.length}.`,
      'Ask for as many as it has.',
    );
  }

  #check(): void {
    if (this.#closed) throw new EspalierError('E_DISPOSED', 'The chain is closed.', 'Create another one.');
    this.model.checkOpen();
  }
}
