import { type BufferPool, sizeClass } from './memory.ts';

const MAP_READ = 1;
const USAGE = MAP_READ | 0x08; // and COPY_DST

/** Bytes of one that waits for another use, at most. */
const KEPT = 2 ** 24;

/** Buffers that the host reads, used again: one a read that is under way. */
export class ReadBuffers {
  readonly #pool: BufferPool;
  readonly #idle: GPUBuffer[] = [];
  #closed = false;

  constructor(pool: BufferPool) {
    this.#pool = pool;
  }

  /** @throws E_OUT_OF_MEMORY */
  take(bytes: number): GPUBuffer {
    const i = this.#idle.findIndex(({ size }) => size >= bytes);
    if (i >= 0) return this.#idle.splice(i, 1)[0]!;
    const small = this.#idle.pop(); // it is replaced
    if (small) this.#pool.destroy(small);
    return this.#pool.create(sizeClass(bytes), USAGE);
  }

  /** What `look` makes of the first bytes, which it may not keep. */
  async content<T>(buffer: GPUBuffer, bytes: number, look: (content: ArrayBuffer) => T): Promise<T> {
    if (bytes === 0) return look(new ArrayBuffer(0));
    await buffer.mapAsync(MAP_READ, 0, bytes);
    try {
      return look(buffer.getMappedRange(0, bytes));
    } finally {
      buffer.unmap();
    }
  }

  give(buffer: GPUBuffer): void {
    if (this.#closed || buffer.size > KEPT) this.#pool.destroy(buffer);
    else this.#idle.push(buffer);
  }

  close(): void {
    this.#closed = true;
    for (const buffer of this.#idle.splice(0)) this.#pool.destroy(buffer);
  }
}
