import { EspalierError } from '../../errors.ts';
import type { TensorPool } from '../device.ts';
import { type BufferPool, type GpuMemory, sizeClass } from './memory.ts';

/** A range of a buffer. */
interface Range {
  at: number;
  size: number;
}

interface Slab {
  readonly memory: GpuMemory;
  /** Ascending, none beside another. */
  readonly free: Range[];
}

/** A place in a buffer that others share, and how it is given back. */
export interface SlabPlace {
  readonly memory: GpuMemory;
  readonly offset: number;
  readonly size: number;
  give(): void;
}

/**
 * Tensors of a pool in few buffers, since a kernel binds buffers: sequences whose caches stand in one buffer take one dispatch. A new buffer has room for what is
 * announced, and for at least half as much as there is, so that there are few; what is empty is given back.
 */
export class Slabs {
  readonly #buffers: BufferPool;
  readonly #most: number;
  readonly #pools = new Map<string, Slab[]>();

  /** @param most bytes of a buffer, so that it can be bound whole */
  constructor(buffers: BufferPool, most: number) {
    this.#buffers = buffers;
    this.#most = most - (most % 256);
  }

  /** Of undefined content; null where it is too large to stand with others. @throws E_OUT_OF_MEMORY, or with the next read or flush */
  take(bytes: number, { name, more }: TensorPool): SlabPlace | null {
    const size = sizeClass(bytes); // what follows has the same size more often then
    if (size > this.#most) return null;
    const slabs = this.#pools.get(name) ?? [];
    this.#pools.set(name, slabs);
    for (const slab of slabs) {
      const i = slab.free.findIndex((range) => range.size >= size);
      if (i >= 0) return this.#place(slabs, slab, slab.free[i]!, size);
    }
    const held = slabs.reduce((sum, { memory }) => sum + memory.size, 0);
    const memory = this.#buffer(size, Math.max(size * (1 + more), held / 2));
    const slab = { memory, free: [{ at: 0, size: memory.size }] };
    slabs.push(slab);
    return this.#place(slabs, slab, slab.free[0]!, size);
  }

  /** As large as wanted where there is room, and at least as needed. */
  #buffer(least: number, wanted: number): GpuMemory {
    const size = Math.min(wanted, this.#most);
    try {
      // a size class may be a quarter more than is asked for
      return this.#buffers.take(sizeClass(size) <= this.#most ? size : Math.max(least, 0.75 * this.#most));
    } catch (error) {
      if (size === least || !(error instanceof EspalierError && error.code === 'E_OUT_OF_MEMORY')) throw error;
      return this.#buffers.take(least);
    }
  }

  #place(slabs: Slab[], slab: Slab, from: Range, size: number): SlabPlace {
    const at = from.at;
    from.at += size;
    from.size -= size;
    if (from.size === 0) slab.free.splice(slab.free.indexOf(from), 1);
    return { memory: slab.memory, offset: at, size, give: () => this.#give(slabs, slab, { at, size }) };
  }

  #give(slabs: Slab[], { memory, free }: Slab, range: Range): void {
    const i = free.findIndex(({ at }) => at > range.at);
    free.splice(i < 0 ? free.length : i, 0, range);
    for (let j = free.length - 1; j > 0; j--) {
      const [before, behind] = [free[j - 1]!, free[j]!];
      if (before.at + before.size !== behind.at) continue;
      before.size += behind.size;
      free.splice(j, 1);
    }
    if (free[0]!.size < memory.size) return;
    slabs.splice(
      slabs.findIndex((slab) => slab.memory === memory),
      1,
    );
    this.#buffers.give(memory);
  }
}
