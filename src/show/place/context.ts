import { exclusive } from '../../device/exclusive.ts';
import { EspalierError } from '../../errors.ts';
import type { TextBehind } from '../../model/generate/generation.ts';
import type { KvCache, KvPiece } from '../../model/kv-cache.ts';
import type { LocalModel } from '../../model/model.ts';
import { checked } from '../../options/check.ts';
import type { ShotPool } from '../pool/pool.ts';
import { modeFacts } from '../pool/prefix-mode.ts';
import { contextOf, type PooledUnit } from '../pool/units.ts';
import { type BranchPlan, type Range, runBranches } from '../probe/branches.ts';
import type { Branch, Shot, ShotOrder, UseHidden } from '../types.ts';
import { type ContextOptions, contextOptions } from './options.ts';
import { repairRows } from './repair.ts';

/** Where free text goes on. */
export interface Continuation extends TextBehind {
  /** Whether the cache is nobody else's. */
  readonly own: boolean;
  /** Gives the cache back. */
  end(): void;
}

/** What `ShotContext` and `Chain` have in common: shots in a cache, of which any first so many can be gone on from. */
export interface PlacedShots {
  readonly model: LocalModel;
  /** In order of placing. */
  readonly placed: readonly Shot[];
  /** Tokens before the shots. */
  readonly prefix: readonly number[];
  /** The first so many shots as a query behind them sees them: of blocks, whole ones. */
  used(count: number): readonly Shot[];
  /** Their tokens, in the order of reading. */
  tokens(count: number): readonly number[];
  /** Whether so many shots give what ordinary causal attention over the same text gives. */
  isCausal(count: number): boolean;
  /** Device bytes of the cache. */
  readonly byteLength: number;
  /**
   * Runs branches behind so many shots each, in one forward pass for every 512 tokens; no branch sees another. What the device was given
   * is unchanged afterwards.
   * @throws E_ARGUMENT, E_CONTEXT_LENGTH, E_OUT_OF_MEMORY, E_ABORTED
   */
  branches<T>(list: readonly Branch[], use: UseHidden<T>, signal?: AbortSignal): Promise<T>;
  /**
   * A cache that holds the prefix and the first so many shots, for generating. Unless it is a copy of its own, end it before anything else is
   * done here. @throws E_ARGUMENT, E_OUT_OF_MEMORY
   */
  continueAt(shots: number, own?: boolean): Promise<Continuation>;
  close(): void;
}

/** What placing took. */
export interface Placing {
  /** Tokens that went through the layers, to be repaired. */
  readonly repaired: number;
  /** Of these, to encode shots or load them from the store. */
  readonly encodeMilliseconds: number;
  readonly milliseconds: number;
}

/** One placed unit. */
interface Placed {
  readonly unit: PooledUnit;
  /** Cache rows. */
  readonly rows: Range;
}

/**
 * Shots of a pool in a cache, keys rotated to where they stand. Exact for block-diagonal attention, in which a shot sees itself (and, but
 * for bare shots, the prefix) and the query sees all: not for causal attention over the same text, unless one bare shot stands alone.
 *
 * `best-first`: prefix, then shots as they are placed. `best-nearest`: each shot stands before those placed earlier, and the query at a
 * fixed position behind all of them; attention knows only differences of positions, so growing moves nothing. The prefix then goes
 * anew to the left end of each branch.
 */
export class ShotContext implements PlacedShots {
  readonly pool: ShotPool;
  readonly order: ShotOrder;
  readonly temperature: number;
  /** Exponent on the shots' sum of attention: scale times temperature. */
  readonly #factor: number;
  /** Positions that shots and prefix may take. */
  readonly #room: number;
  readonly #cache: KvCache;
  /** best-nearest: the prefix before RoPE. */
  readonly #piece: KvPiece | null;
  #placed: Placed[] = [];
  #closed = false;

  private constructor(pool: ShotPool, options: Required<ContextOptions>, cache: KvCache, piece: KvPiece | null) {
    this.pool = pool;
    this.order = options.order;
    this.temperature = options.temperature;
    this.#factor = options.scale * options.temperature;
    this.#room = contextOf(pool.model) - options.room;
    this.#cache = cache;
    this.#piece = piece;
  }

  /** An empty context. @throws E_ARGUMENT, E_CONTEXT_LENGTH, E_OUT_OF_MEMORY, E_DISPOSED */
  static async create(pool: ShotPool, options: ContextOptions = {}): Promise<ShotContext> {
    const checked = checkContext(pool, options);
    const anchored = checked.order === 'best-nearest';
    return pool.withPrefix(async (prefix) => {
      // branches beside each other take more rows than there are positions
      const cache = pool.model.decoder.cache(0, Number.MAX_SAFE_INTEGER);
      const piece = anchored && prefix.length > 0 ? prefix.extract(0, prefix.length) : null;
      try {
        if (!anchored) cache.copyFrom(prefix, prefix.length);
        return new ShotContext(pool, checked, cache, piece);
      } catch (error) {
        cache.dispose();
        piece?.dispose();
        throw error;
      }
    });
  }

  get model(): LocalModel {
    return this.pool.model;
  }
  get prefix(): readonly number[] {
    return this.pool.prefixIds;
  }
  get placed(): readonly Shot[] {
    return shotsOf(this.#placed);
  }
  get byteLength(): number {
    return this.#cache.byteLength;
  }

  /** Stored bytes of the shots that are placed. */
  get storedBytes(): number {
    return this.#placed.reduce((sum, { unit }) => sum + unit.stored.bytes, 0);
  }
  /** Whether only block-diagonal attention tells it from full attention: no temperature, scale or repair. */
  get isPlain(): boolean {
    return this.temperature === 1 && this.#factor === 1 && modeFacts(this.pool.prefix).repair === 0;
  }

  /**
   * How many of these shots, from the first on, there is room for before a query and an answer of `need` tokens; of blocks, all shots are
   * counted.
   * @throws E_ARGUMENT; E_CONTEXT_LENGTH where `need` is more than the room behind the fixed position of best-nearest
   */
  fitting(ids: readonly string[], need = 0): number {
    const context = contextOf(this.model);
    if (need > context - this.prefix.length || (this.order === 'best-nearest' && need > context - this.#room)) {
      throw new EspalierError(
        'E_CONTEXT_LENGTH',
        `The query needs ${need} tokens, and there is room for ${context - this.#room} behind the shots.`,
        'Shorten it, or give a larger `room`.',
      );
    }
    const used = this.#end(this.#placed.length) - this.#first;
    let room = Math.min(this.#room, context - need) - this.prefix.length - used;
    const here = new Set(this.placed.map(({ id }) => id));
    for (const [i, id] of ids.entries()) {
      if (here.has(id)) continue;
      for (const { shot, ids: tokens } of this.pool.unitOf(id)) {
        room -= tokens.length;
        here.add(shot.id);
      }
      if (room < 0) return i;
    }
    return ids.length;
  }

  /**
   * Appends shots, best first, those that are there already left out. Nothing is placed when it throws.
   * @throws E_CONTEXT_LENGTH when they do not fit; E_ARGUMENT, E_OUT_OF_MEMORY, E_ABORTED
   */
  async place(ids: readonly string[], signal?: AbortSignal): Promise<Placing> {
    this.#check();
    const started = performance.now();
    let encodeMilliseconds = 0;
    if (this.fitting(ids) < ids.length) {
      throw new EspalierError(
        'E_CONTEXT_LENGTH',
        `${ids.length} more shots do not fit the ${this.#room} positions for shots.`,
        'Place fewer: fitting() says how many; or ask for less room.',
      );
    }
    const before = this.#placed.length;
    const { step } = this.pool.grow;
    let repaired = 0;
    try {
      for (let first = 0; first < ids.length; first += step) {
        const some = ids.slice(first, first + step);
        const asked = performance.now();
        await this.pool.use(
          some,
          (units) =>
            exclusive(this.model.device, async () => {
              this.#check();
              encodeMilliseconds += performance.now() - asked;
              const here = new Set(this.placed.map(({ id }) => id));
              const added = units
                .filter(({ entries }) => !here.has(entries[0]!.shot.id))
                .map((unit) => this.#put(unit));
              repaired += await this.#repair(added, signal);
            }),
          { signal },
        );
      }
      return { repaired, encodeMilliseconds, milliseconds: performance.now() - started };
    } catch (error) {
      if (!this.#closed) this.#forget(before);
      throw error;
    }
  }

  /** Forgets all shots. */
  clear(): void {
    this.#check();
    this.#forget(0);
  }

  used(count: number): readonly Shot[] {
    return shotsOf(this.#placed.slice(0, this.#unitsFor(count)));
  }

  tokens(count: number): readonly number[] {
    const list = this.#placed.slice(0, this.#unitsFor(count)).map(({ unit }) => unit.entries.flatMap(({ ids }) => ids));
    return (this.order === 'best-nearest' ? list.reverse() : list).flat();
  }

  isCausal(count: number): boolean {
    const units = this.#unitsFor(count);
    if (units === 0) return true;
    const plain = this.temperature === 1 && this.#factor === 1;
    return plain && units === 1 && (modeFacts(this.pool.prefix).seesPrefix || this.prefix.length === 0);
  }

  branches<T>(list: readonly Branch[], use: UseHidden<T>, signal?: AbortSignal): Promise<T> {
    return exclusive(this.model.device, async () => {
      this.#check();
      const plans = list.map(({ ids, shots }): BranchPlan => {
        const units = this.#unitsFor(shots);
        const range = { first: this.#first, end: this.#end(units) };
        const others = this.#piece ? [] : [{ first: 0, end: this.#first }];
        const before = this.#piece ? () => this.#putPrefix(units) : undefined;
        return { ids, position: this.#position(units), shots: range, others, before };
      });
      const options = { factor: this.#factor, limit: contextOf(this.model), signal };
      return runBranches(this.model.decoder, this.#cache, plans, use, options);
    });
  }

  /** Shots beyond the first so many are forgotten: place them again when they are wanted. */
  async continueAt(shots: number, own = false): Promise<Continuation> {
    return exclusive(this.model.device, async () => {
      this.#check();
      const units = this.#unitsFor(shots);
      this.#forget(units);
      const end = this.#end(units);
      if (this.#piece) this.#putPrefix(units);
      const cache = own ? this.#copy(end) : this.#cache;
      const position = this.#position(units);
      const after = cache.length;
      return {
        own,
        cache,
        position,
        limit: contextOf(this.model),
        options: (done, count) => {
          const positions = Array.from({ length: count }, (_, i) => position + done + i);
          if (this.#factor === 1) return { positions };
          const rest = this.#piece ? [0, 0, end] : [0, this.#first, end];
          return {
            positions,
            mask: Int32Array.from(positions.flatMap(() => rest)),
            split: {
              mask: Int32Array.from(positions.flatMap(() => [this.#first, end, after + done + count])),
              factor: this.#factor,
            },
          };
        },
        end: () => {
          if (own) cache.dispose();
          else if (!this.#closed) cache.truncate(end);
        },
      };
    });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#cache.dispose();
    this.#piece?.dispose();
  }

  /** All that stands in the cache, which then ends at a row. @throws E_OUT_OF_MEMORY */
  #copy(end: number): KvCache {
    const copy = this.model.decoder.cache(0, Number.MAX_SAFE_INTEGER);
    try {
      copy.copyFrom(this.#cache, this.#cache.length);
      return copy;
    } catch (error) {
      copy.dispose();
      throw error;
    } finally {
      this.#cache.truncate(end);
    }
  }

  /** First row of shots. */
  get #first(): number {
    return this.order === 'best-nearest' ? 0 : this.prefix.length;
  }

  /** Row behind the first so many units. */
  #end(units: number): number {
    return units === 0 ? this.#first : this.#placed[units - 1]!.rows.end;
  }

  /** Position behind the first so many units. */
  #position(units: number): number {
    return this.order === 'best-nearest' ? this.#room : this.#end(units);
  }

  #put(unit: PooledUnit): Placed {
    const { stored } = unit;
    const end = this.#end(this.#placed.length);
    const used = end - this.#first;
    const position = this.order === 'best-nearest' ? this.#room - used - stored.length : end;
    this.#cache.placeStored(stored.keys, stored.values, position, 1 / this.temperature);
    const placed = { unit, rows: { first: end, end: end + stored.length } };
    this.#placed.push(placed);
    return placed;
  }

  /** The prefix, so that it ends where the first so many units begin. */
  #putPrefix(units: number): void {
    this.#cache.place(this.#piece!, this.#room - this.#end(units) - this.prefix.length);
  }

  async #repair(added: readonly Placed[], signal: AbortSignal | undefined): Promise<number> {
    const count = modeFacts(this.pool.prefix).repair;
    if (count === 0) return 0;
    const heads = added.map(({ unit, rows }) => {
      const ids = unit.entries.flatMap((entry) => entry.ids).slice(0, count);
      return { ids, row: rows.first };
    });
    return repairRows(this.model.decoder, this.#cache, heads, 1 / this.temperature, signal);
  }

  /** Units that hold the first so many shots. @throws E_ARGUMENT */
  #unitsFor(count: number): number {
    let left = count;
    let units = 0;
    while (left > 0 && units < this.#placed.length) left -= this.#placed[units++]!.unit.entries.length;
    if (Number.isSafeInteger(count) && count >= 0 && left <= 0) return units;
    throw new EspalierError(
      'E_ARGUMENT',
      `There are no ${count} shots among the ${this.placed.length} that are placed.`,
      'Place them first.',
    );
  }

  #forget(units: number): void {
    this.#cache.truncate(this.#end(units));
    this.#placed.length = units;
  }

  #check(): void {
    if (this.#closed) throw new EspalierError('E_DISPOSED', 'The context is closed.', 'Create another one.');
  }
}

function shotsOf(placed: readonly Placed[]): readonly Shot[] {
  return placed.flatMap(({ unit }) => unit.entries.map(({ shot }) => shot));
}

function checkContext(pool: ShotPool, options: ContextOptions): Required<ContextOptions> {
  const given = checked<ContextOptions>(contextOptions, options, 'ShotContext.create()');
  const { order = 'best-first', temperature = 1 } = given;
  const { scale = 1 / temperature } = given;
  const context = contextOf(pool.model);
  const { room = Math.min(256, context >> 1) } = given;
  const refuse = (what: string, hint: string): never => {
    throw new EspalierError('E_ARGUMENT', what, hint);
  };
  if (room > context - pool.prefixIds.length) {
    refuse(`room is ${String(room)}.`, `Give an integer from 1 to ${context - pool.prefixIds.length}.`);
  }
  if (order === 'best-nearest' && modeFacts(pool.prefix).repair > 0) {
    refuse(
      'Repair needs what stands before a shot, and with best-nearest that comes later.',
      'Use best-first, or a pool without repair.',
    );
  }
  return { order, temperature, scale, room };
}
