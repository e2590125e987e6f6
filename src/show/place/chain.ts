import { exclusive } from '../../device/exclusive.ts';
import { EspalierError, throwIfAborted } from '../../errors.ts';
import type { KvCache } from '../../model/kv-cache.ts';
import type { LocalModel } from '../../model/model.ts';
import { checked } from '../../options/check.ts';
import { checkedModel, checkedShots } from '../checks.ts';
import { MOST_ROWS } from '../pool/encode.ts';
import { shotBytes } from '../pool/stored.ts';
import { type Entry, entryOf, prefixIds } from '../pool/units.ts';
import { Work } from '../pool/work.ts';
import { runBranches } from '../probe/branches.ts';
import type { Branch, Shot, UseHidden } from '../types.ts';
import type { Continuation, PlacedShots } from './context.ts';
import { type ChainOptions, chainOptions } from './options.ts';

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
    const { instruction, signal, onProgress, onEstimate } = checked<ChainOptions>(
      chainOptions,
      options,
      'Chain.create()',
    );
    throwIfAborted(signal);
    checkedModel(model).checkOpen();
    checkIds(checkedShots(shots));
    const prefix = prefixIds(model, instruction);
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
          const bytes = shotBytes(model.config, ids.length, 'f32');
          const total = { shots: shots.length, tokens: ids.length, bytes };
          const work = new Work(total, onEstimate, (tokens) => onProgress?.(tokens, ids.length));
          await readChunks(model, ids, cache, work, signal);
          onProgress?.(ids.length, ids.length);
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

  used(count: number): readonly Shot[] {
    this.#end(count);
    return this.placed.slice(0, count);
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
      return { own: true, cache, position, options: () => ({}), end: () => cache.dispose() };
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

/** Chunk by chunk, so that it is known how long the rest will take. */
async function readChunks(
  { decoder, config }: LocalModel,
  ids: readonly number[],
  cache: KvCache,
  work: Work,
  signal: AbortSignal | undefined,
): Promise<void> {
  for (let first = 0; first < ids.length; first += MOST_ROWS) {
    const some = ids.slice(first, first + MOST_ROWS);
    const started = performance.now();
    await decoder.forward(some, cache, {
      output: 'last',
      signal,
      onKeys: (layer) => work.within((some.length * (layer + 1)) / config.nLayers),
    });
    work.done(some.length, performance.now() - started);
  }
}

/** @throws E_ARGUMENT */
export function checkIds(shots: readonly Shot[]): void {
  const ids = new Set<string>();
  for (const { id } of shots) {
    if (ids.has(id)) {
      throw new EspalierError(
        'E_ARGUMENT',
        `There are two shots with the id "${id.slice(0, 60)}".`,
        'Give each an id of its own.',
      );
    }
    ids.add(id);
  }
}
