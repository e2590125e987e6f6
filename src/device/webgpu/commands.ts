import type { EspalierError } from '../../errors.ts';
import { type GpuContext, outOfMemory, type Pipeline } from './context.ts';
import { type Kernel, spread } from './kernel.ts';
import { BufferPool, type GpuMemory } from './memory.ts';

/** What a kernel is given as a buffer. */
export interface Bound {
  readonly memory: GpuMemory;
  /** Bytes from which, and how many. */
  readonly offset: number;
  readonly byteLength: number;
}

/** Dispatches of a submission, at most: the GPU begins while the rest is still recorded. */
const BATCH = 256;
/** Bytes of the numbers of a submission, from which on it is made; a dispatch has some behind that. */
const NUMBER_ROOM = 2 ** 18;
/** Bytes of the numbers of a dispatch, at most. */
const MOST_NUMBER_BYTES = 4096;

/**
 * Commands in the order of calls. They are encoded at once while all kernels that they need are compiled; from the first that is not, they
 * wait, and go when `settle` has waited for the compiler.
 */
export class Commands {
  readonly context: GpuContext;
  readonly pool: BufferPool;
  /** Most bytes of a binding. */
  readonly bindingLimit: number;
  readonly #device: GPUDevice;
  readonly #numbers: GPUBuffer;
  readonly #words: Uint32Array<ArrayBuffer>;
  readonly #floats: Float32Array;
  /** One dispatch's numbers begin at a multiple of so many bytes, */
  readonly #align: number;
  /** and the next's here. */
  #numberBytes = 0;
  readonly #place = new Uint32Array(1);
  #encoder: GPUCommandEncoder | null = null;
  #pass: GPUComputePassEncoder | null = null;
  #current: GPUComputePipeline | null = null;
  #dispatches = 0;
  #submission = 0;
  #waiting: (() => void)[] = [];
  readonly #compiling = new Set<Promise<void>>();
  #closed = false;
  /** What the GPU said of a command, until it is reported. */
  #failure: EspalierError | null = null;
  /** What is freed behind commands that wait. */
  readonly #doomed = new Set<GpuMemory>();
  /** Bind groups by their pipeline and the numbers of the memories in them, a level for each binding; another device's numbers are others. */
  readonly #groups = new Map<Pipeline, Map<number, unknown>>();
  /** Windows of buffers that are larger than a binding may be, by their place. */
  readonly #windows = new Map<string, number>();
  #nextWindow = -1;
  /** Dispatches by the name of their kernel; null while nobody counts. */
  tally: Map<string, number> | null = null;

  constructor(context: GpuContext, memoryLimit: number, bindingLimit = context.bindingLimit) {
    this.context = context;
    this.bindingLimit = Math.min(bindingLimit, context.bindingLimit);
    this.#device = context.device;
    this.pool = new BufferPool(context, memoryLimit, {
      free: (memory) => {
        this.#doomed.add(memory);
        this.#then(() => this.#destroy(memory));
      },
      failed: (error) => this.fail(error),
    });
    this.#align = context.device.limits.minUniformBufferOffsetAlignment;
    // a binding has all the bytes that there may be, behind the last numbers, too
    this.#words = new Uint32Array((NUMBER_ROOM + MOST_NUMBER_BYTES) / 4);
    this.#floats = new Float32Array(this.#words.buffer);
    this.#numbers = this.pool.create(this.#words.byteLength, 0x40 | 0x08); // UNIFORM, COPY_DST
  }

  /** @param groups workgroups: their number, to be spread over two dimensions, or along x, y and z */
  run(
    of: Kernel,
    bound: readonly Bound[],
    numbers: readonly number[],
    groups: number | readonly [x: number, y: number, z?: number],
  ): void {
    const [x, y, z = 1] = typeof groups === 'number' ? spread(groups) : groups;
    if (x === 0 || y === 0 || z === 0) return;
    const { bindingLimit } = this;
    for (const { byteLength } of bound) {
      if (byteLength <= bindingLimit) continue;
      throw outOfMemory(`A kernel needs ${byteLength} bytes in one piece; this GPU binds ${bindingLimit}.`);
    }
    const pipeline = this.context.pipeline(of);
    this.tally?.set(of.name, (this.tally.get(of.name) ?? 0) + 1);
    const apart = this.#apart(pipeline, bound);
    if (this.#waiting.length > 0) this.#go();
    if ((pipeline.pipeline || pipeline.refused) && this.#waiting.length === 0)
      this.#dispatch(pipeline, apart, numbers, x, y, z);
    else {
      if (!pipeline.pipeline && !pipeline.refused) this.#wait(pipeline.ready);
      const given = [...numbers];
      this.#waiting.push(() => this.#dispatch(pipeline, apart, given, x, y, z));
    }
    this.#back(pipeline, bound, apart);
  }

  /** At once if nothing recorded is over it; else behind that. @param bytes a multiple of 4 */
  write(memory: GpuMemory, offset: number, bytes: Uint8Array<ArrayBuffer>): void {
    memory.dirty = true;
    if (this.#waiting.length > 0) {
      const copy = bytes.slice();
      this.#waiting.push(() => this.#writeNow(memory, offset, copy));
    } else this.#writeNow(memory, offset, bytes);
  }

  #writeNow(memory: GpuMemory, offset: number, bytes: Uint8Array<ArrayBuffer>): void {
    if (memory.usedIn === this.#submission) this.submit();
    this.#device.queue.writeBuffer(memory.buffer, offset, bytes);
  }

  /** Of ranges that do not overlap; all multiples of 4. */
  copy(from: GpuMemory, fromOffset: number, to: GpuMemory, toOffset: number, bytes: number): void {
    to.dirty = true;
    this.#then(() => {
      this.#use(from);
      this.#use(to);
      this.#outside().copyBufferToBuffer(from.buffer, fromOffset, to.buffer, toOffset, bytes);
    });
  }

  /** To a buffer that is read by the host. */
  copyOut(from: GpuMemory, fromOffset: number, to: GPUBuffer, toOffset: number, bytes: number): void {
    this.#then(() => {
      this.#use(from);
      this.#outside().copyBufferToBuffer(from.buffer, fromOffset, to, toOffset, bytes);
    });
  }

  clear(memory: GpuMemory, offset: number, bytes: number): void {
    this.#then(() => {
      this.#use(memory);
      this.#outside().clearBuffer(memory.buffer, offset, bytes);
    });
  }

  /** All that is recorded so far goes to the GPU. @throws what it said, or that it is lost */
  async settle(): Promise<void> {
    do {
      await Promise.all(this.#compiling);
      this.#go();
    } while (this.#compiling.size > 0);
    if (this.#closed) return;
    this.submit();
    await this.pool.known();
    this.report();
  }

  /** Kept until it is reported; the first, of which others follow. */
  fail(error: EspalierError): void {
    this.#failure ??= error;
  }

  /** @throws what the GPU said of a command, once, or that it is lost */
  report(): void {
    if (this.context.lost) throw this.context.lost;
    const failure = this.#failure;
    this.#failure = null;
    if (failure) throw failure;
  }

  submit(): void {
    if (!this.#encoder) return;
    this.#endPass();
    if (this.#dispatches > 0) {
      this.#device.queue.writeBuffer(this.#numbers, 0, this.#words, 0, this.#numberBytes / 4);
    }
    this.#device.queue.submit([this.#encoder.finish()]);
    this.#encoder = null;
    this.#dispatches = 0;
    this.#numberBytes = 0;
    this.#submission++;
  }

  close(): void {
    this.#closed = true;
    this.#waiting = [];
    this.#compiling.clear();
    this.#endPass();
    this.#encoder = null;
    this.pool.destroy(this.#numbers);
    this.pool.trim();
    for (const memory of this.#doomed) this.#destroy(memory);
    this.#forgetGroups();
  }

  /** Frees it behind all that is recorded; at once where the device closes. */
  #destroy(memory: GpuMemory): void {
    if (memory.usedIn === this.#submission && !this.#closed) this.submit();
    memory.buffer.destroy();
    this.#doomed.delete(memory);
    this.#forgetGroups();
  }

  /** Memory was freed that they may hold. */
  #forgetGroups(): void {
    this.#groups.clear();
    this.#windows.clear();
  }

  #then(work: () => void): void {
    if (this.#closed || this.#waiting.length === 0) work();
    else this.#waiting.push(work);
  }

  #wait(ready: Promise<void>): void {
    this.#compiling.add(ready);
    void ready.then(() => this.#compiling.delete(ready));
  }

  /** What waited, as far as it is compiled. */
  #go(): void {
    if (this.#compiling.size > 0 || this.#closed) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const work of waiting) work();
  }

  #use(memory: GpuMemory): void {
    memory.usedIn = this.#submission;
  }

  #outside(): GPUCommandEncoder {
    this.#endPass();
    this.#encoder ??= this.#device.createCommandEncoder();
    return this.#encoder;
  }

  #endPass(): void {
    this.#pass?.end();
    this.#pass = null;
    this.#current = null;
  }

  #dispatch(of: Pipeline, bound: readonly Bound[], numbers: readonly number[], x: number, y: number, z: number): void {
    if (!of.pipeline) {
      if (of.refused) this.fail(of.refused);
      return;
    }
    if (this.#dispatches === BATCH || this.#numberBytes > NUMBER_ROOM) this.submit();
    this.#encoder ??= this.#device.createCommandEncoder();
    this.#pass ??= this.#encoder.beginComputePass();
    const at = this.#numberBytes;
    this.#dispatches++;
    const group = this.#group(of, bound, at / 4);
    const fixed = of.floats.length;
    let word = at / 4 + bound.length;
    for (let i = 0; i < fixed; i++, word++) {
      if (of.floats[i]) this.#floats[word] = numbers[i]!;
      else this.#words[word] = numbers[i]!;
    }
    if (numbers.length > fixed) {
      word = at / 4 + of.listAt;
      for (let i = fixed; i < numbers.length; i++, word++) this.#words[word] = numbers[i]!;
    }
    this.#numberBytes = Math.ceil((4 * word) / this.#align) * this.#align;
    if (this.#current !== of.pipeline) {
      this.#pass.setPipeline(of.pipeline);
      this.#current = of.pipeline;
    }
    this.#place[0] = at;
    this.#pass.setBindGroup(0, group, this.#place, 0, 1);
    this.#pass.dispatchWorkgroups(x, y, z);
  }

  /** The bind group of these buffers; also writes where each tensor begins in its binding. */
  #group(of: Pipeline, bound: readonly Bound[], word: number): GPUBindGroup {
    const { bindingLimit } = this;
    let level = this.#groups.get(of);
    if (!level) {
      level = new Map();
      this.#groups.set(of, level);
    }
    let key = 0;
    const last = bound.length - 1;
    for (let i = 0; i <= last; i++) {
      const { memory, offset, byteLength } = bound[i]!;
      memory.usedIn = this.#submission;
      const whole = memory.size <= bindingLimit;
      const from = whole ? 0 : offset - (offset % 256);
      this.#words[word + i] = (offset - from) / of.elementBytes[i]!;
      key = whole ? memory.id : this.#window(memory.id, from, byteLength);
      if (i === last) break;
      let next = level.get(key) as Map<number, unknown> | undefined;
      if (!next) {
        next = new Map();
        level.set(key, next);
      }
      level = next;
    }
    let group = level.get(key) as GPUBindGroup | undefined;
    if (!group) {
      group = this.#makeGroup(of, bound);
      level.set(key, group);
    }
    return group;
  }

  #window(id: number, from: number, bytes: number): number {
    const name = `${id} ${from} ${bytes}`;
    let key = this.#windows.get(name);
    if (key === undefined) {
      key = this.#nextWindow--;
      this.#windows.set(name, key);
    }
    return key;
  }

  #makeGroup(of: Pipeline, bound: readonly Bound[]): GPUBindGroup {
    const { bindingLimit } = this;
    const entries: GPUBindGroupEntry[] = bound.map(({ memory, offset, byteLength }, binding) => {
      if (memory.size <= bindingLimit) return { binding, resource: { buffer: memory.buffer } };
      const from = offset - (offset % 256);
      const size = Math.min(memory.size - from, Math.ceil((offset + byteLength - from) / 256) * 256);
      return { binding, resource: { buffer: memory.buffer, offset: from, size } };
    });
    const resource = { buffer: this.#numbers, size: of.numberBytes };
    entries.push({ binding: entries.length, resource });
    return this.#device.createBindGroup({ layout: of.layout, entries });
  }

  /**
   * A buffer that is written may be bound once. What else stands in it is taken from a copy, as it was before the kernel; what else is
   * written in it goes to a copy and back (`#back`).
   */
  #apart(of: Pipeline, bound: readonly Bound[]): readonly Bound[] {
    if (!meets(of, bound)) return bound;
    let apart: Bound[] | null = null;
    for (let i = 0; i < bound.length; i++) {
      const { memory, offset, byteLength } = bound[i]!;
      const isShared = bound.some(
        (other, j) =>
          j !== i && other.memory === memory && of.access[j] === 'write' && (of.access[i] === 'read' || j < i),
      );
      if (!isShared) continue;
      apart ??= [...bound];
      const within = offset % 256;
      const copy = this.pool.take(byteLength + within);
      // whole words: what a row of 16 bits a number lacks of one belongs to the same buffer
      this.copy(memory, offset - (offset % 4), copy, within - (within % 4), words(byteLength + (offset % 4)));
      apart[i] = { memory: copy, offset: within, byteLength };
    }
    return apart ?? bound;
  }

  #back(of: Pipeline, bound: readonly Bound[], apart: readonly Bound[]): void {
    if (apart === bound) return;
    for (let i = 0; i < bound.length; i++) {
      const [to, from] = [bound[i]!, apart[i]!];
      if (to === from) continue;
      if (of.access[i] === 'write') this.copy(from.memory, from.offset, to.memory, to.offset, words(to.byteLength));
      this.pool.give(from.memory);
    }
  }
}

/** Whether a buffer that is written is bound twice. */
function meets({ access }: Pipeline, bound: readonly Bound[]): boolean {
  for (let i = 0; i < bound.length; i++) {
    if (access[i] !== 'write') continue;
    const { memory } = bound[i]!;
    for (let j = 0; j < bound.length; j++) if (j !== i && bound[j]!.memory === memory) return true;
  }
  return false;
}

const words = (bytes: number): number => Math.ceil(bytes / 4) * 4;
