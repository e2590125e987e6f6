import { EspalierError, throwIfAborted } from '../../errors.ts';
import type { KvCache } from '../../model/kv-cache.ts';
import type { LocalModel } from '../../model/model.ts';
import { checked } from '../../options/check.ts';
import { checkedText } from '../../options/texts.ts';
import { Turns } from '../../queue.ts';
import { checkedIds, checkedModel, checkedQuery, checkedShots } from '../checks.ts';
import { rank as rankRule } from '../rank/options.ts';
import { PoolRanking } from '../rank/pool-ranking.ts';
import type { RankMethod } from '../rank/rankings.ts';
import type { EncodedQuery, PrefixMode, Ranked, Shot, StorageType } from '../types.ts';
import { inBatches } from './batches.ts';
import { encodeUnits, type PooledKeys } from './encode.ts';
import { type EncodeQueryOptions, encodeQueryOptions, type PoolOptions, poolOptions, signalOf } from './options.ts';
import { PrefixCache } from './prefix-cache.ts';
import { modeFacts } from './prefix-mode.ts';
import { Residents } from './residents.ts';
import { checkStorage } from './stored.ts';
import { Keeper } from './unit-store.ts';
import {
  checkRoom,
  contextOf,
  type Entry,
  entryOf,
  type Layout,
  layoutOf,
  type PooledUnit,
  type PoolUnit,
  prefixIds,
  sizeOf,
} from './units.ts';
import { Work } from './work.ts';

/** Files of the store that are read at once. */
const READS = 8;

/**
 * Examples of a task over one model. Their keys and values are computed when they are first needed, held on the device within limits, and
 * kept in a store between runs. Pooled keys, for ranking, are kept as long as the shot is in the pool.
 */
export class ShotPool {
  readonly model: LocalModel;
  readonly prefix: PrefixMode;
  readonly storage: StorageType;
  /** Tokens of the begin-of-text token and the instruction. */
  readonly prefixIds: readonly number[];
  readonly #options: PoolOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #ranking: PoolRanking;
  readonly #held: Residents;
  /** By the unit's key: of each of its shots. */
  readonly #pooled = new Map<string, readonly PooledKeys[]>();
  readonly #keeper: Keeper | null;
  readonly #turns = new Turns();
  /** Null: to be made again. */
  #units: Layout | null = null;
  readonly #prefixCache: PrefixCache;
  #closed = false;

  private constructor(model: LocalModel, options: PoolOptions) {
    this.model = model;
    this.#options = options;
    this.prefix = options.prefix ?? 'bare';
    this.storage = options.storage ?? 'int8';
    checkStorage(this.storage, model.config);
    this.prefixIds = prefixIds(model, options.instruction);
    checkRoom('The instruction', this.prefixIds.length, contextOf(model) - 2);
    this.#prefixCache = new PrefixCache(model, this.prefixIds);
    this.#ranking = new PoolRanking(model, (work) => this.withPrefix(work));
    this.#keeper = options.store ? new Keeper(model, options.store, this, options.onWarning) : null;
    this.#held = new Residents(this.grow.most, options.byteLimit ?? Number.POSITIVE_INFINITY);
  }

  /**
   * Takes the shots in and encodes the first of them (`grow.initial`).
   * @throws E_ARGUMENT, E_CONTEXT_LENGTH, E_OUT_OF_MEMORY, E_ABORTED, E_DISPOSED
   */
  static async build(model: LocalModel, shots: readonly Shot[], options: PoolOptions = {}): Promise<ShotPool> {
    const given = checked<PoolOptions>(poolOptions, options, 'ShotPool.build()');
    throwIfAborted(given.signal);
    checkedModel(model).checkOpen();
    const pool = new ShotPool(model, given);
    try {
      pool.add(shots);
      const first = shots.slice(0, pool.grow.initial).map(({ id }) => id);
      await pool.prepare(first, { signal: given.signal });
      return pool;
    } catch (error) {
      pool.close();
      throw error;
    }
  }

  /** What went wrong and cost time alone: the store's first failure. */
  get warnings(): readonly EspalierError[] {
    return this.#keeper?.warning ? [this.#keeper.warning] : [];
  }
  /** Shots, encoded or not. */
  get size(): number {
    return this.#entries.size;
  }
  /** In the order in which they came. */
  get shots(): readonly Shot[] {
    return [...this.#entries.values()].map(({ shot }) => shot);
  }
  /** Shots whose keys and values are on the device. */
  get resident(): number {
    return this.#held.shots;
  }
  /** Of these keys and values. */
  get bytes(): number {
    return this.#held.bytes;
  }
  /** Shots with pooled keys: those that were encoded once, since they came. */
  get pooled(): number {
    return this.size - this.unpooled.length;
  }
  /** Shots that cannot be ranked by their keys yet. */
  get unpooled(): readonly string[] {
    return [...this.#entries.keys()].filter((id) => this.#pooledOf(id) === null);
  }
  get grow(): { readonly initial: number; readonly step: number; readonly most: number } {
    const { initial = 32, step = 32, most = 128 } = this.#options.grow ?? {};
    return { initial: Math.min(most, initial), step, most };
  }

  has(id: string): boolean {
    return this.#entries.has(id);
  }

  /** @throws E_ARGUMENT */
  shot(id: string): Shot {
    return this.#entry(id).shot;
  }

  /** Tokens of a shot. @throws E_ARGUMENT */
  tokens(id: string): readonly number[] {
    return this.#entry(id).ids;
  }

  /** The shots that are cached together with one, itself included. @throws E_ARGUMENT */
  unitOf(id: string): readonly Entry[] {
    return this.#layout().of.get(this.#entry(id).shot.id)!.entries;
  }

  /**
   * Adds shots; they are encoded when they are needed. Nothing is added when it throws.
   * @throws E_ARGUMENT for an id that is there or stands twice, or a shot without text; E_CONTEXT_LENGTH for one that is too long
   */
  add(shots: readonly Shot[]): void {
    this.#check();
    const made = new Map<string, Entry>();
    for (const shot of checkedShots(shots)) {
      if (this.#entries.has(shot.id) || made.has(shot.id)) {
        throw new EspalierError(
          'E_ARGUMENT',
          `There are two shots with the id "${shot.id.slice(0, 60)}".`,
          'Give each its own, or use replace().',
        );
      }
      made.set(shot.id, entryOf(this.model, shot, this.prefixIds.length, contextOf(this.model)));
    }
    this.#layoutOf([...this.#entries.values(), ...made.values()]);
    for (const [id, entry] of made) {
      this.#entries.set(id, entry);
      this.#ranking.put(entry.shot);
    }
    this.#changed();
  }

  /** @throws E_ARGUMENT for an id that is not there; nothing is removed then */
  remove(ids: readonly string[]): void {
    this.#check();
    for (const id of checkedIds(ids)) this.#entry(id);
    for (const id of ids) {
      this.#entries.delete(id);
      this.#ranking.remove(id);
    }
    this.#changed();
  }

  /** Puts a shot in the place of the one with its id. @throws E_ARGUMENT, E_CONTEXT_LENGTH; nothing is changed then */
  replace(shot: Shot): void {
    this.#check();
    this.#entry(checkedShots([shot])[0]!.id);
    const entry = entryOf(this.model, shot, this.prefixIds.length, contextOf(this.model));
    this.#layoutOf([...this.#entries].map(([id, other]) => (id === shot.id ? entry : other)));
    this.#entries.set(shot.id, entry);
    this.#ranking.put(shot);
    this.#changed();
  }

  /**
   * Encodes shots, or loads them from the store; of a block all of it. What is returned, once for each block and in the order of the
   * ids, stays on the device until the next call at least, however small the limits are.
   * @throws E_ARGUMENT for an unknown id, E_OUT_OF_MEMORY, E_ABORTED
   */
  encode(
    ids: readonly string[],
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<readonly PooledUnit[]> {
    return this.use(ids, async (units) => units, options);
  }

  /** As `encode`; nobody frees the shots before `work` is done. */
  use<T>(
    ids: readonly string[],
    work: (units: readonly PooledUnit[]) => Promise<T>,
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<T> {
    return this.#turns.run(async () => {
      this.#check();
      const units = this.#unitsOf(ids);
      await this.#bring(units, signalOf(options));
      return work(units.map((unit) => ({ stored: this.#held.get(unit.key)!, entries: unit.entries })));
    });
  }

  /** Encodes all shots of the pool, or these, and holds as many as the limits allow: all have pooled keys then. @throws as encode */
  async prepare(ids?: readonly string[], options: { readonly signal?: AbortSignal | undefined } = {}): Promise<void> {
    const signal = signalOf(options);
    const all = ids === undefined ? [...this.#entries.keys()] : checkedIds(ids);
    const { onEstimate, onProgress } = this.#options;
    const ahead = this.#unitsOf(all).filter(({ key }) => !this.#held.has(key));
    const total = sizeOf(ahead, this.model.config, this.storage);
    let [done, loaded] = [0, 0];
    const whole = { total: all.length, totalTokens: total.tokens };
    const tell = (tokens: number) => onProgress?.({ done, loaded, tokens, ...whole });
    const work = new Work(total, onEstimate, tell);
    const step = Math.min(all.length, this.grow.step);
    for (let first = 0; first < all.length; first += step) {
      const some = all.slice(first, first + step).filter((id) => this.#entries.has(id));
      loaded += await this.#turns.run(() => {
        this.#check();
        return this.#bring(this.#unitsOf(some), signal, work);
      });
      done = Math.min(all.length, first + step);
      tell(Math.min(total.tokens, work.tokens));
    }
  }

  /** Encodes the shots that cannot be ranked by their keys yet, and no others. @throws as encode */
  async preparePooled(options: { readonly signal?: AbortSignal | undefined } = {}): Promise<void> {
    const unknown = this.unpooled;
    if (unknown.length > 0) await this.prepare(unknown, options);
  }

  /** A query's tokens and, for ranking by keys, its vectors from forward passes behind the prefix. @throws E_CONTEXT_LENGTH, E_ABORTED */
  async encodeQuery(text: string, options: EncodeQueryOptions = {}): Promise<EncodedQuery> {
    checkedText(text, 'The query');
    options = checked<EncodeQueryOptions>(encodeQueryOptions, options, 'encodeQuery()');
    this.#check();
    const ids = this.model.encode(text, { addBos: false });
    if (ids.length === 0) throw new EspalierError('E_ARGUMENT', 'The query has no tokens.', 'Give a text.');
    checkRoom('The query', ids.length, contextOf(this.model) - this.prefixIds.length);
    const texts = () => [...this.#entries.values()].map((entry) => entry.ids);
    const seen = modeFacts(this.prefix).seesPrefix ? this.prefixIds.length : 0;
    return { text: options.input ?? text, ids, ...(await this.#ranking.vectorsOf(ids, seen, texts, options)) };
  }

  /** Of a shot's prompt, for comparison with those of queries; null while it was never encoded. @throws E_ARGUMENT */
  features(id: string): Float32Array | null {
    return this.#pooledOf(this.#entry(id).shot.id)?.features ?? null;
  }

  /** Best first. Of shots with equal text only the best is in it. @throws E_ARGUMENT, see `RankMethod`; for a query that `encodeQuery` has not made */
  rank(query: EncodedQuery, method: RankMethod): readonly Ranked[] {
    rankRule.check(method, 'The ranking');
    checkedQuery(query);
    this.#check();
    const shots = [...this.#entries.values()].map(({ shot, ids }) => {
      return { shot, tokens: ids.length, pooled: this.#pooledOf(shot.id)?.keys ?? null };
    });
    return this.#ranking.rank(query, method, shots);
  }

  /** Internal: runs `work`, alone on the device, over a cache that holds the prefix and must hold no more afterwards. */
  withPrefix<T>(work: (cache: KvCache) => Promise<T>): Promise<T> {
    return this.#prefixCache.run(work);
  }

  /** Frees keys and values. The model stays open. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#held.keepOnly(new Set());
    this.#prefixCache.dispose();
  }

  /** Makes sure that units are on the device. @returns how many shots came from the store */
  async #bring(units: readonly PoolUnit[], signal: AbortSignal | undefined, work?: Work): Promise<number> {
    const kept = new Set(units.map(({ key }) => key));
    const missing = new Map(units.filter(({ key }) => this.#held.get(key) === null).map((unit) => [unit.key, unit]));
    const left: PoolUnit[] = [];
    let loaded = 0;
    for (let i = 0; i < missing.size; i += READS) {
      throwIfAborted(signal);
      const some = [...missing.values()].slice(i, i + READS);
      const found = await Promise.all(some.map((unit) => this.#load(unit)));
      this.#check();
      for (const [k, unit] of some.entries()) {
        if (!found[k]) left.push(unit);
        else {
          loaded += unit.entries.length;
          work?.done(unit.length, null);
        }
      }
    }
    for (const batch of inBatches(left, ({ length }) => length)) {
      await this.#compute(batch, signal, work);
      this.#held.trim(kept);
    }
    this.#held.trim(kept);
    return loaded;
  }

  async #compute(batch: readonly PoolUnit[], signal: AbortSignal | undefined, work?: Work): Promise<void> {
    const { decoder } = this.model;
    const seen = modeFacts(this.prefix).seesPrefix ? this.prefixIds.length : 0;
    const units = batch.map(({ entries }) => entries);
    const started = performance.now();
    const encoded = await this.withPrefix((cache) => {
      const onTokens = work && ((tokens: number) => work.within(tokens));
      return encodeUnits(decoder, cache, units, { storage: this.storage, seen, signal, onTokens });
    });
    if (this.#closed) {
      for (const { shot } of encoded) shot.dispose();
      this.#check();
    }
    for (const [i, unit] of batch.entries()) {
      const { shot, pooled } = encoded[i]!;
      this.#held.put(unit.key, shot, unit.entries.length);
      this.#pooled.set(unit.key, pooled);
    }
    for (const [i, unit] of batch.entries()) await this.#keeper?.save(unit, encoded[i]!);
    const tokens = batch.reduce((sum, { length }) => sum + length, 0);
    work?.done(tokens, performance.now() - started);
  }

  /** From the store; false when it is not there. */
  async #load(unit: PoolUnit): Promise<boolean> {
    const found = await this.#keeper?.load(unit);
    if (!found) return false;
    if (this.#closed) {
      found.shot.dispose();
      return false;
    }
    this.#held.put(unit.key, found.shot, unit.entries.length);
    this.#pooled.set(unit.key, found.pooled);
    return true;
  }

  /** @throws E_CONTEXT_LENGTH */
  #layoutOf(entries: readonly Entry[]): Layout {
    return layoutOf(entries, modeFacts(this.prefix).block, contextOf(this.model) - this.prefixIds.length - 1);
  }

  #layout(): Layout {
    this.#units ??= this.#layoutOf([...this.#entries.values()]);
    return this.#units;
  }

  /** Each once. @throws E_ARGUMENT for an id that is not there */
  #unitsOf(ids: readonly string[]): PoolUnit[] {
    const { of } = this.#layout();
    return [...new Set(checkedIds(ids).map((id) => of.get(this.#entry(id).shot.id)!))];
  }

  /** Shots have come or gone: what belongs to none is freed, in its turn. */
  #changed(): void {
    this.#units = null;
    void this.#turns.run(async () => {
      const kept = new Set(this.#layout().list.map(({ key }) => key));
      this.#held.keepOnly(kept);
      for (const key of [...this.#pooled.keys()]) if (!kept.has(key)) this.#pooled.delete(key);
    });
  }

  #pooledOf(id: string): PooledKeys | null {
    const unit = this.#layout().of.get(id)!;
    const at = unit.entries.findIndex(({ shot }) => shot.id === id);
    return this.#pooled.get(unit.key)?.[at] ?? null;
  }

  #entry(id: string): Entry {
    const entry = this.#entries.get(id);
    if (entry) return entry;
    throw new EspalierError('E_ARGUMENT', `There is no shot "${String(id).slice(0, 60)}".`, 'Use the ids of the pool.');
  }

  #check(): void {
    if (this.#closed) throw new EspalierError('E_DISPOSED', 'The pool is closed.', 'Build it again.');
    this.model.checkOpen();
  }
}
