import { exclusive } from '../device/exclusive.ts';
import { throwIfAborted } from '../errors.ts';
import type { KvCache } from '../model/kv-cache.ts';
import type { LocalModel } from '../model/model.ts';
import { MOST_ROWS } from '../show/pool/encode.ts';
import { checkStorage, StoredShot, shotBytes } from '../show/pool/stored.ts';
import { checkRoom, contextOf, type Entry, entryOf, prefixIds } from '../show/pool/units.ts';
import { Work } from '../show/pool/work.ts';
import { Bm25 } from '../show/rank/bm25.ts';
import { wordsFor } from '../show/rank/rank.ts';
import type { Shot, StorageType } from '../show/types.ts';
import { roomy } from './prompts.ts';

/** Blocks right before its own that a block sees, next to the anchor. */
const BEFORE = 2;

export interface BlockSparseOptions {
  readonly instruction?: string | undefined;
  /** Default f16. */
  readonly storage?: StorageType | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Tokens of blocks that are through, in part by layers, of all; several times a second. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** A block of shots, at rest. */
interface Block {
  readonly entries: readonly Entry[];
  readonly stored: StoredShot;
}

/**
 * Shots under dynamic block-sparse attention (DBSA; Xiao et al. 2025, arXiv 2503.08640). All blocks are read once, as one text: a token of block
 * b sees, causally, the prefix and the anchor, which is block 0, blocks b - 2 and b - 1, and its own. For a query some blocks are chosen by
 * BM25, the anchor always, and placed behind the prefix in their order, without gaps: keys are stored before RoPE and rotated to where
 * they stand. The query then sees all of them.
 *
 * Exact against one pass under that mask. Where the first blocks are chosen, up to four, it is causal attention over the same text.
 */
export class BlockSparse {
  readonly #model: LocalModel;
  readonly #prefix: readonly number[];
  readonly #blocks: readonly Block[];
  readonly #words = new Bm25();
  /** Prefix and anchor; behind them what was placed last. */
  readonly #cache: KvCache;
  #closed = false;

  private constructor(
    model: LocalModel,
    prefix: readonly number[],
    entries: readonly (readonly Entry[])[],
    stored: readonly StoredShot[],
    cache: KvCache,
  ) {
    this.#model = model;
    this.#prefix = prefix;
    this.#blocks = entries.map((some, b) => ({ entries: some, stored: stored[b]! }));
    for (const [b, some] of entries.entries()) {
      this.#words.add(String(b).padStart(8, '0'), some.map(({ shot }) => wordsFor(shot)).join('\n'));
    }
    this.#cache = cache;
    cache.placeStored(stored[0]!.keys, stored[0]!.values, prefix.length);
  }

  /**
   * Reads all blocks.
   * @param blocks one or more, of one shot or more each
   * @throws E_CONTEXT_LENGTH where they are more than the model can read as one text, E_OUT_OF_MEMORY, E_ABORTED, E_DISPOSED
   */
  static async create(
    model: LocalModel,
    blocks: readonly (readonly Shot[])[],
    { instruction, storage = 'int8', signal, onProgress }: BlockSparseOptions = {},
  ): Promise<BlockSparse> {
    throwIfAborted(signal);
    model.checkOpen();
    const { decoder, device, config } = model;
    checkStorage(storage, config);
    const prefix = prefixIds(model, instruction);
    const context = contextOf(model);
    const entries = blocks.map((shots) => shots.map((shot) => entryOf(model, shot, prefix.length, context)));
    const lengths = entries.map((some) => some.reduce((sum, { ids }) => sum + ids.length, 0));
    const total = lengths.reduce((sum, length) => sum + length, prefix.length);
    checkRoom(`A text of ${blocks.length} blocks`, total, context, 'Take fewer shots.');
    return exclusive(device, async () => {
      const reading = decoder.cache(total);
      const stored: StoredShot[] = [];
      let cache: KvCache | null = null;
      try {
        for (const length of lengths) stored.push(new StoredShot(device, config, length, storage));
        if (prefix.length > 0) await decoder.forward(prefix, reading, { output: 'last', signal });
        const ids = entries.flatMap((some) => some.flatMap((entry) => entry.ids));
        const size = {
          shots: entries.flat().length,
          tokens: ids.length,
          bytes: shotBytes(config, ids.length, storage),
        };
        const work = new Work(size, undefined, (done) => onProgress?.(done, ids.length));
        await read(model, ids, reading, stored, work, signal);
        onProgress?.(ids.length, ids.length);
        cache = roomy(decoder);
        cache.copyFrom(reading, prefix.length);
        return new BlockSparse(model, prefix, entries, stored, cache);
      } catch (error) {
        for (const shot of stored) shot.dispose();
        cache?.dispose();
        throw error;
      } finally {
        reading.dispose();
      }
    });
  }

  /** How many blocks. */
  get size(): number {
    return this.#blocks.length;
  }

  /** Keys before RoPE and values of a block. They stay this object's. */
  stored(block: number): StoredShot {
    return this.#blocks[block]!.stored;
  }

  /** So many blocks for a query, ascending: the anchor, and of the others those that share most words with it. */
  choose(input: string, count: number): readonly number[] {
    const ranked = this.#words.rank(input).map(({ id }) => Number(id));
    const others = ranked.filter((block) => block > 0).slice(0, count - 1);
    return [0, ...others].sort((a, b) => a - b);
  }

  /** Shots of these blocks. */
  shots(blocks: readonly number[]): readonly Shot[] {
    return blocks.flatMap((block) => this.#blocks[block]!.entries.map(({ shot }) => shot));
  }

  /** Prefix and blocks as a text. */
  tokens(blocks: readonly number[]): readonly number[] {
    return [...this.#prefix, ...blocks.flatMap((block) => this.#blocks[block]!.entries.flatMap(({ ids }) => [...ids]))];
  }

  /**
   * A cache that holds the prefix and these blocks, the anchor first. It stays this object's, and is good until the next call.
   * @throws E_OUT_OF_MEMORY
   */
  place(blocks: readonly number[]): Promise<KvCache> {
    const { device } = this.#model;
    return exclusive(device, async () => {
      this.#cache.truncate(this.#prefix.length + this.stored(0).length);
      for (const block of blocks.slice(1)) {
        const { keys, values } = this.stored(block);
        this.#cache.placeStored(keys, values, this.#cache.length);
      }
      return this.#cache;
    });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const { stored } of this.#blocks) stored.dispose();
    this.#cache.dispose();
  }
}

/** All blocks behind the prefix, 512 tokens at a time; their keys and values go to `stored`, too. */
async function read(
  { decoder, device, config }: LocalModel,
  ids: readonly number[],
  cache: KvCache,
  stored: readonly StoredShot[],
  work: Work,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { nLayers, nKvHeads } = config;
  const first = cache.length;
  /** Cache row at which each block begins, and that behind the last. */
  const starts = [first];
  for (const { length } of stored) starts.push(starts.at(-1)! + length);
  const masks = stored.flatMap(({ length }, b) => Array.from({ length }, () => maskOf(starts, b)));
  for (let from = 0; from < ids.length; from += MOST_ROWS) {
    const to = Math.min(ids.length, from + MOST_ROWS);
    const parts = stored.flatMap(({ length }, b) => {
      const start = starts[b]! - first;
      const [low, high] = [Math.max(start, from), Math.min(start + length, to)];
      return low < high ? [{ b, at: low - start, row: low - from, rows: high - low }] : [];
    });
    const started = performance.now();
    await decoder.forward(ids.slice(from, to), cache, {
      mask: Int32Array.from(masks.slice(from, to).flat()),
      output: 'last',
      signal,
      onKeys: (layer, keys, values) => {
        for (const { b, at, row, rows } of parts) {
          const { keys: toKeys, values: toValues, length } = stored[b]!;
          device.storeRows(device.rows(keys, row, rows), toKeys, layer * length + at, nKvHeads);
          device.storeRows(device.rows(values, row, rows), toValues, layer * length + at, nKvHeads);
        }
        work.within(((to - from) * (layer + 1)) / nLayers);
      },
    });
    work.done(to - from, performance.now() - started);
  }
}

/** What a token of a block sees, as in `Device.attention`: what stands before the end of the anchor, and from two blocks before its own on. */
function maskOf(starts: readonly number[], block: number): readonly number[] {
  const self = starts[Math.max(0, block - BEFORE)]!;
  const anchor = starts[1]!;
  return self <= anchor ? [0, 0, 0] : [0, anchor, self];
}
