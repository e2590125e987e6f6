import { EspalierError } from '../../errors.ts';

export const ALIGN = 64;
/**
 * Pages that a memory of as many or more grows by at least, as long as it may: each time V8 counts it anew, and soon collects garbage, which was a third
 * of the time that a model took to load. What nobody has written to costs nothing.
 */
const STEP = 512;
const PAGE = 65536;
/** wasm32 addresses end here. */
const MOST_PAGES = 65536;
/** Bytes of an arena at first, and those that it grows by. */
const CHUNK = 1 << 20;
const MORE = 1 << 18;
const INITIAL_PAGES = 16;

/** A memory that can grow to the end of its addresses. @throws E_OUT_OF_MEMORY */
export function newMemory(shared: boolean): WebAssembly.Memory {
  try {
    return new WebAssembly.Memory({ initial: INITIAL_PAGES, maximum: MOST_PAGES, shared });
  } catch (cause) {
    throw new EspalierError('E_OUT_OF_MEMORY', 'The host gave no WebAssembly memory.', 'Close other engines.', {
      cause,
    });
  }
}

/**
 * The allocator of one WebAssembly memory: JavaScript owns it, because AssemblyScript's is per instance and two lanes would
 * hand out the same address. First fit over a sorted free list; 64-byte alignment; grows the memory when nothing fits.
 */
export class WasmMemory {
  readonly memory: WebAssembly.Memory;
  readonly shared: boolean;
  bytesInUse = 0;
  peakBytes = 0;
  readonly #limitPages: number;
  /** Free ranges by address, never adjacent to each other. */
  #free: { at: number; size: number }[] = [];
  readonly #sizes = new Map<number, number>();
  #end: number;
  #u8: Uint8Array | null = null;

  /** limitBytes: the most the memory may grow to; reaching it is E_OUT_OF_MEMORY. */
  constructor(memory: WebAssembly.Memory, firstFree: number, limitBytes: number = MOST_PAGES * PAGE) {
    this.memory = memory;
    this.shared = typeof SharedArrayBuffer !== 'undefined' && memory.buffer instanceof SharedArrayBuffer;
    this.#limitPages = Math.min(MOST_PAGES, Math.ceil(limitBytes / PAGE));
    this.#end = memory.buffer.byteLength;
    const at = Math.ceil(firstFree / ALIGN) * ALIGN;
    if (at < this.#end) this.#free.push({ at, size: this.#end - at });
  }

  /** The whole memory. Do not keep it: growing detaches it. */
  get u8(): Uint8Array {
    if (this.#u8 === null || this.#u8.byteLength === 0 || this.#u8.buffer !== this.memory.buffer) {
      this.#u8 = new Uint8Array(this.memory.buffer);
    }
    return this.#u8;
  }

  /** Address of `size` bytes of undefined content. @throws E_OUT_OF_MEMORY */
  allocate(size: number): number {
    const need = Math.max(ALIGN, Math.ceil(size / ALIGN) * ALIGN);
    let index = this.#free.findIndex((range) => range.size >= need);
    if (index < 0) {
      this.#grow(need);
      index = this.#free.length - 1;
    }
    const range = this.#free[index]!;
    const at = range.at;
    if (range.size === need) this.#free.splice(index, 1);
    else {
      range.at += need;
      range.size -= need;
    }
    this.#sizes.set(at, need);
    this.#count(need);
    return at;
  }

  free(at: number): void {
    const size = this.#sizes.get(at);
    if (size === undefined) throw new Error(`free of ${at}, which is not allocated`);
    this.#sizes.delete(at);
    this.bytesInUse -= size;
    let low = 0;
    let high = this.#free.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#free[middle]!.at < at) low = middle + 1;
      else high = middle;
    }
    const before = this.#free[low - 1];
    const after = this.#free[low];
    const joinsBefore = before !== undefined && before.at + before.size === at;
    const joinsAfter = after !== undefined && at + size === after.at;
    if (joinsBefore) {
      before.size += size + (joinsAfter ? after.size : 0);
      if (joinsAfter) this.#free.splice(low, 1);
    } else if (joinsAfter) {
      after.at = at;
      after.size += size;
    } else this.#free.splice(low, 0, { at, size });
  }

  /** Makes what was allocated at `at` longer, where it stands; false: something else stands behind it. @throws E_OUT_OF_MEMORY */
  extend(at: number, more: number): boolean {
    const size = this.#sizes.get(at);
    if (size === undefined) throw new Error(`extend of ${at}, which is not allocated`);
    const need = Math.ceil(more / ALIGN) * ALIGN;
    const behind = at + size;
    let index = this.#free.findIndex((range) => range.at === behind);
    const end = index < 0 ? behind : behind + this.#free[index]!.size;
    if (end - behind < need) {
      if (end !== this.#end) return false;
      this.#grow(need);
      index = this.#free.length - 1;
    }
    const range = this.#free[index]!;
    if (range.size === need) this.#free.splice(index, 1);
    else {
      range.at += need;
      range.size -= need;
    }
    this.#sizes.set(at, size + need);
    this.#count(need);
    return true;
  }

  #count(more: number): void {
    this.bytesInUse += more;
    if (this.bytesInUse > this.peakBytes) this.peakBytes = this.bytesInUse;
  }

  /** Makes the last free range at least `need` bytes long. */
  #grow(need: number): void {
    const last = this.#free.at(-1);
    const tail = last !== undefined && last.at + last.size === this.#end ? last : null;
    const least = Math.ceil((need - (tail?.size ?? 0)) / PAGE);
    const have = this.#end / PAGE;
    let pages = Math.max(least, Math.min(STEP, have, this.#limitPages - have));
    const outOfMemory = (cause?: unknown) =>
      new EspalierError(
        'E_OUT_OF_MEMORY',
        `The device needs ${need} more bytes beyond the ${this.bytesInUse} in use, and has none left.`,
        'Close models that are no longer used, use a smaller or more strongly quantised model, or a shorter context.',
        { cause },
      );
    if (have + pages > this.#limitPages) throw outOfMemory();
    try {
      this.memory.grow(pages);
    } catch {
      // the host has less than it might: what is needed may still be there
      pages = least;
      try {
        this.memory.grow(pages);
      } catch (cause) {
        throw outOfMemory(cause);
      }
    }
    this.#u8 = null;
    const size = pages * PAGE;
    if (tail) tail.size += size;
    else this.#free.push({ at: this.#end, size });
    this.#end += size;
  }
}

/** A point to return to; outside, an opaque `ArenaMark`. */
export interface ArenaPoint {
  readonly chunk: number;
  readonly offset: number;
}

/** Scratch memory by bumping a pointer through chunks. `reset` frees nothing, so a steady step allocates nothing. */
export class Arena {
  readonly #memory: WasmMemory;
  #chunks: { at: number; size: number }[] = [];
  #chunk = 0;
  #offset = 0;
  bytes = 0;

  constructor(memory: WasmMemory) {
    this.#memory = memory;
  }

  allocate(size: number): number {
    const need = Math.ceil(size / ALIGN) * ALIGN;
    for (;;) {
      const chunk = this.#chunks[this.#chunk];
      if (chunk === undefined) {
        const bytes = Math.max(need, CHUNK);
        this.#chunks.push({ at: this.#memory.allocate(bytes), size: bytes });
        this.bytes += bytes;
      } else if (this.#offset + need <= chunk.size) {
        const at = chunk.at + this.#offset;
        this.#offset += need;
        return at;
      } else if (!this.#extend(need)) {
        this.#chunk++;
        this.#offset = 0;
      }
    }
  }

  /** Makes the last chunk long enough, where it is the current one: a next one would leave a gap at its end. */
  #extend(need: number): boolean {
    const chunk = this.#chunks[this.#chunk]!;
    if (this.#chunk < this.#chunks.length - 1) return false;
    const more = Math.max(this.#offset + need - chunk.size, MORE);
    if (!this.#memory.extend(chunk.at, more)) return false;
    chunk.size += more;
    this.bytes += more;
    return true;
  }

  mark(): ArenaPoint {
    return { chunk: this.#chunk, offset: this.#offset };
  }

  reset(mark: ArenaPoint): void {
    this.#chunk = mark.chunk;
    this.#offset = mark.offset;
    // a first step that overflowed several chunks leaves one large one, so that later steps fit without gaps
    if (mark.chunk === 0 && mark.offset === 0 && this.#chunks.length > 1) {
      const total = this.bytes;
      this.release();
      let at: number;
      try {
        at = this.#memory.allocate(total);
      } catch {
        return; // no such range is left: chunks are taken again as they are needed
      }
      this.#chunks.push({ at, size: total });
      this.bytes = total;
    }
  }

  release(): void {
    for (const chunk of this.#chunks) this.#memory.free(chunk.at);
    this.#chunks = [];
    this.#chunk = 0;
    this.#offset = 0;
    this.bytes = 0;
  }
}
