import type { Tensor, TensorData } from '../../device/device.ts';
import { exclusive, waitingFor } from '../../device/exclusive.ts';
import { GROUP } from '../../device/wasm/kernels.ts';
import { hasNode } from '../../runtime/host/types.ts';
import type { Decoder } from '../decoder.ts';
import type { KvCache } from '../kv-cache.ts';

/** Keys and values of some tokens behind those of another block, as the passes left them. */
interface Block {
  readonly key: string;
  readonly number: number;
  readonly rows: number;
  /** Keys, then values, of each layer, [rows, nKvHeads · headDim] f32, keys rotated. */
  readonly data: readonly TensorData[];
  readonly byteLength: number;
}

/** A stretch of a prompt that may be a block. */
interface Stretch {
  readonly first: number;
  readonly end: number;
}

/**
 * The row behind which a prompt can be cut next, so that passes that begin there give all rows the bits of the whole: rows that are quantised
 * together lie between two cuts. Experts take the rows of a chunk together. Infinity: nowhere, as on a GPU, which has other kernels for few
 * rows than for many.
 * @param row 0, or a cut
 */
export function nextCut({ device, config, chunk, rowsIndependent }: Decoder, row: number): number {
  if (device.kind !== 'wasm') return Number.POSITIVE_INFINITY;
  const end = (Math.floor(row / chunk) + 1) * chunk;
  if (config.moe) return end;
  return Math.min(end, row + (rowsIndependent ? BLOCK : GROUP));
}

/** Tokens of a block where rows do not notice each other: as few as pay for looking them up. */
const BLOCK = 20;

const MEBI = 2 ** 20;

/** Bytes where nobody says how many: a page shares its memory with others. */
export const defaultBytes = (): number => (hasNode() ? 256 : 64) * MEBI;

/**
 * Keys and values of recent prompts of one decoder, so that a prompt that begins like one of them computes only what is new: in blocks, each
 * found by its tokens and the block before it, as in vLLM (Kwon et al. 2023). Blocks end where a prompt can be cut without a bit changing
 * (`nextCut`), so what is found is what the prompt would compute itself. They are copies in JavaScript's memory, apart from the
 * device's: nobody writes to them, and no limit of the device is touched.
 */
export class PromptCache {
  readonly #decoder: Decoder;
  #most: number;
  /** Those unused for longest first; a block never before those behind it, so that what goes first has none. */
  readonly #blocks = new Map<string, Block>();
  #bytes = 0;
  /** Numbers of blocks are given once; 0 is the beginning. */
  #last = 0;

  /** @param most bytes */
  constructor(decoder: Decoder, most: number = defaultBytes()) {
    this.#decoder = decoder;
    this.#most = most;
  }

  /** Bytes of keys and values that it holds. */
  get byteLength(): number {
    return this.#bytes;
  }

  /**
   * Puts what is known of the beginning of a prompt into a cache that holds nothing. Its last token is always left over: what it predicts is not
   * known; and so is the one before, since a row that goes alone gets other bits than in company, unless it would be alone anyway.
   * @returns tokens
   */
  place(ids: readonly number[], cache: KvCache): number {
    const { device, chunk } = this.#decoder;
    const found: Block[] = [];
    let end = 0;
    for (const stretch of this.#stretches(ids)) {
      const left = ids.length - stretch.end;
      if (left === 0 || (left === 1 && stretch.end % chunk !== 0)) break;
      const block = this.#blocks.get(keyOf(found.at(-1), ids, stretch));
      if (!block) break;
      found.push(block);
      end = stretch.end;
    }
    if (end === 0) return 0;
    this.#use(found);
    cache.reserve(end);
    for (const [i, side] of this.#sides(cache).entries()) {
      let row = 0;
      for (const { data, rows } of found) {
        device.write(side, data[i]!, row * side.shape[1]!);
        row += rows;
      }
    }
    cache.advance(Array.from({ length: end }, (_, position) => position));
    return end;
  }

  /**
   * Keeps the blocks of a prompt whose rows are in the cache from 0 on. It never fails: what cannot be kept is not, and where there is no memory
   * for it, nothing is.
   */
  keep(ids: readonly number[], cache: KvCache): Promise<void> {
    return exclusive(this.#decoder.device, () => this.#store(ids, cache)).catch(() => this.clear());
  }

  /**
   * Reads what was written as a prompt is read, and keeps its blocks, too: rows that go alone have other bits, and the next turn of a conversation
   * begins with these. It gives way to all else that waits for the device, between two blocks, and never fails, as `keep`.
   * @param ids of a prompt, and of what was written behind it
   * @param read how many of the first were read as a prompt
   * @param cache of these, freed in the end
   */
  async readAgain(ids: readonly number[], read: number, cache: KvCache): Promise<void> {
    const { device } = this.#decoder;
    const work = async (): Promise<void> => {
      try {
        const unread = [...this.#stretches(ids)].filter(({ end }) => end > read);
        if (unread.length > 0) cache.truncate(unread[0]!.first);
        for (const { first, end } of unread) {
          if (waitingFor(device) > 0 || this.#most === 0) break;
          await this.#decoder.forward(ids.slice(first, end), cache, { output: 'last' });
        }
        await this.#store(ids.slice(0, cache.length), cache);
      } finally {
        cache.dispose();
      }
    };
    await exclusive(device, work).catch(() => this.clear());
  }

  /** Forgets everything, so that there is memory for something else. */
  clear(): void {
    this.#blocks.clear();
    this.#bytes = 0;
  }

  /** The same, for good. */
  dispose(): void {
    this.#most = 0;
    this.clear();
  }

  async #store(ids: readonly number[], cache: KvCache): Promise<void> {
    const { device } = this.#decoder;
    const known: Block[] = [];
    const more: Stretch[] = [];
    for (const stretch of this.#stretches(ids)) {
      const block = more.length > 0 ? undefined : this.#blocks.get(keyOf(known.at(-1), ids, stretch));
      if (block) known.push(block);
      else more.push(stretch);
    }
    const sides = this.#sides(cache);
    const views = more.flatMap(({ first, end }) => sides.map((side) => device.rows(side, first, end - first)));
    const data = views.length > 0 ? await device.read(views) : [];
    // the model may have been closed meanwhile
    if (this.#most === 0) return;
    for (const [i, stretch] of more.entries()) {
      const block: Block = {
        key: keyOf(known.at(-1), ids, stretch),
        number: ++this.#last,
        rows: stretch.end - stretch.first,
        data: data.slice(i * sides.length, (i + 1) * sides.length),
        byteLength: this.#bytesOf(stretch.end - stretch.first),
      };
      this.#blocks.set(block.key, block);
      this.#bytes += block.byteLength;
      known.push(block);
    }
    this.#use(known);
    for (const [key, { byteLength }] of this.#blocks) {
      if (this.#bytes <= this.#most) break;
      this.#blocks.delete(key);
      this.#bytes -= byteLength;
    }
  }

  /** A block that others stand behind is used after them. */
  #use(chain: readonly Block[]): void {
    for (const block of chain.toReversed()) {
      this.#blocks.delete(block.key);
      this.#blocks.set(block.key, block);
    }
  }

  /** No more than there is room for: the rest would only drive out what it stands behind. */
  *#stretches(ids: readonly number[]): Generator<Stretch> {
    for (let first = 0; ; ) {
      const end = nextCut(this.#decoder, first);
      if (end > ids.length || this.#bytesOf(end) > this.#most) return;
      yield { first, end };
      first = end;
    }
  }

  #sides(cache: KvCache): Tensor[] {
    const layers = Array.from({ length: this.#decoder.config.nLayers }, (_, layer) => layer);
    return layers.flatMap((layer) => [cache.keys(layer), cache.values(layer)]);
  }

  #bytesOf(rows: number): number {
    const { nLayers, nKvHeads, headDim } = this.#decoder.config;
    return 8 * nLayers * nKvHeads * headDim * rows;
  }
}

function keyOf(before: Block | undefined, ids: readonly number[], { first, end }: Stretch): string {
  return `${before?.number ?? 0} ${ids.slice(first, end)}`;
}
