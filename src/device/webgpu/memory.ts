import type { EspalierError } from '../../errors.ts';
import { errorOf, type GpuContext, outOfMemory } from './context.ts';

/** A buffer of the GPU. Tensors and scratch are whole buffers: a binding may not be read and written, and so two of them never share one. */
export interface GpuMemory {
  /** Never used again for another. */
  readonly id: number;
  readonly buffer: GPUBuffer;
  /** Bytes, a multiple of 256. */
  readonly size: number;
  /** Of the submission that the last command over it belongs to. */
  usedIn: number;
  /** Whether it may hold something else than zeros. */
  dirty: boolean;
  /** When it was given back last (`performance.now()`). */
  since: number;
}

const USAGE = 0x80 | 0x04 | 0x08; // STORAGE, COPY_SRC, COPY_DST
/**
 * Milliseconds that a buffer waits for another use. A step of training gives all of its scratch back and takes it again: what is freed between is made
 * and zeroed anew each time, gigabytes of it.
 */
const REST = 5000;

export interface PoolEvents {
  /** This is to be freed, behind all that is recorded. */
  free(memory: GpuMemory): void;
  /** There was no room for a buffer. */
  failed(error: EspalierError): void;
}

/**
 * Buffers by size class, a quarter of a power of two each: making one costs tens of microseconds, and the same buffers again mean the same
 * bind groups. What is given back is used again at once, since the GPU works in the order of commands.
 */
export class BufferPool {
  readonly #context: GpuContext;
  readonly #limit: number;
  readonly #tell: PoolEvents;
  readonly #idle = new Map<number, GpuMemory[]>();
  readonly #late = new Set<Promise<void>>();
  #nextId = 0;
  #sweep = 0;
  /** Of all buffers there are. */
  bytes = 0;
  peakBytes = 0;

  constructor(context: GpuContext, limit: number, tell: PoolEvents) {
    this.#context = context;
    this.#limit = limit;
    this.#tell = tell;
  }

  /** Of undefined content. @throws E_OUT_OF_MEMORY, or with the next read or flush */
  take(bytes: number): GpuMemory {
    const size = sizeClass(bytes);
    const idle = this.#idle.get(size)?.pop();
    if (idle) return idle;
    const buffer = this.create(size, USAGE);
    return { id: this.#nextId++, buffer, size, usedIn: -1, dirty: false, since: 0 };
  }

  /** A buffer that is counted, and is no memory of tensors. @throws as `take` */
  create(size: number, usage: number): GPUBuffer {
    const { device } = this.#context;
    const most = device.limits.maxBufferSize;
    if (size > most) throw outOfMemory(`${size} bytes are wanted in one piece; the GPU has ${most} for one.`);
    if (this.bytes + size > this.#limit) this.trim();
    if (this.bytes + size > this.#limit) {
      throw outOfMemory(`${size} bytes more than the ${this.bytes} in use go beyond the limit of ${this.#limit}.`);
    }
    device.pushErrorScope('out-of-memory');
    const buffer = device.createBuffer({ size, usage });
    const scope = device.popErrorScope().then(
      (error) => {
        if (error) this.#tell.failed(errorOf(error));
      },
      () => {}, // the device is lost, which is told elsewhere
    );
    this.#late.add(scope);
    void scope.then(() => this.#late.delete(scope));
    this.bytes += size;
    this.peakBytes = Math.max(this.peakBytes, this.bytes);
    return buffer;
  }

  /** Of `create`. */
  destroy(buffer: GPUBuffer): void {
    this.bytes -= buffer.size;
    buffer.destroy();
  }

  give(memory: GpuMemory): void {
    memory.dirty = true;
    memory.since = performance.now();
    const list = this.#idle.get(memory.size);
    if (list) list.push(memory);
    else this.#idle.set(memory.size, [memory]);
    if (memory.since < this.#sweep) return;
    this.#sweep = memory.since + REST;
    this.trim(memory.since - REST);
  }

  /** Frees what waits for another use, or has waited since some time. */
  trim(before: number = Number.POSITIVE_INFINITY): void {
    for (const [size, list] of this.#idle) {
      const kept = list.filter((memory) => memory.since >= before);
      this.#idle.set(size, kept);
      for (const memory of list) {
        if (memory.since >= before) continue;
        this.bytes -= memory.size;
        this.#tell.free(memory);
      }
    }
  }

  /** When it is known of every buffer whether there was room for it; the context has a failure if there was not. */
  async known(): Promise<void> {
    await Promise.all(this.#late);
  }
}

/** Bytes of the buffer that so many get. */
export function sizeClass(bytes: number): number {
  const least = Math.max(256, bytes);
  const step = Math.max(256, 2 ** Math.floor(Math.log2(least)) / 4);
  return Math.ceil(least / step) * step;
}

/** Scratch: a stack of buffers of the pool. */
export class Arena {
  readonly #pool: BufferPool;
  readonly #stack: GpuMemory[] = [];
  /** Of what scratch held at most at once. */
  mostBytes = 0;
  #bytes = 0;

  constructor(pool: BufferPool) {
    this.#pool = pool;
  }

  take(bytes: number): GpuMemory {
    const memory = this.#pool.take(bytes);
    this.#stack.push(memory);
    this.#bytes += memory.size;
    this.mostBytes = Math.max(this.mostBytes, this.#bytes);
    return memory;
  }

  mark(): number {
    return this.#stack.length;
  }

  reset(to: number): void {
    while (this.#stack.length > to) {
      const memory = this.#stack.pop()!;
      this.#bytes -= memory.size;
      this.#pool.give(memory);
    }
  }
}
