import { byteLengthOf } from '../../element-types.ts';
import { EspalierError } from '../../errors.ts';
import {
  bytesOf,
  checkMatrices,
  checkMatrix,
  checkRead,
  checkRows,
  checkVector,
  checkWrite,
  checkWriteBytes,
} from '../checks/memory.ts';
import { checkRowMajor, widthOf } from '../checks/tensor.ts';
import type { ArenaMark, DeviceStats, ElementType, Tensor, TensorData, TensorPool, WeightSource } from '../device.ts';
import { tensorData } from '../tensor-data.ts';
import { copyBytes } from './bytes.ts';
import { Commands } from './commands.ts';
import { type GpuContext, type GpuUser, refusal } from './context.ts';
import { Arena } from './memory.ts';
import type { WebGpuDeviceOptions } from './options.ts';
import { ReadBuffers } from './read-buffers.ts';
import { Slabs } from './slabs.ts';
import { GpuTensor } from './tensor.ts';
import { GpuPanels, panelLayout, readPanels, readVector } from './weights.ts';

/** What a GPU device stands on. */
export interface GpuParts {
  readonly context: GpuContext;
  readonly commands: Commands;
  readonly arena: Arena;
}

/** The tensors of a GPU device, and the buffers that they are. */
export class TensorStore {
  /** Null when it is closed. */
  #parts: GpuParts | null;
  readonly #reads: ReadBuffers;
  readonly #slabs: Slabs;
  readonly #live = new Map<GpuTensor, string>();
  /** Owns all scratch, which counts as disposed with the device. */
  readonly #alive = { disposed: false };
  readonly #context: GpuContext;
  protected readonly debug: boolean;
  #peakBytes = 0;
  readonly #onLost: ((error: EspalierError) => void)[] = [];
  readonly #user: GpuUser = {
    failed: (error) => this.#parts?.commands.fail(error),
    lost: (error) => {
      for (const callback of this.#onLost.splice(0)) queueMicrotask(() => callback(error));
    },
  };

  protected constructor(context: GpuContext, { memoryLimit, bindingLimit, debug }: WebGpuDeviceOptions) {
    const limit = bindingLimit === undefined ? undefined : bindingLimit - (bindingLimit % 4096);
    const commands = new Commands(context, memoryLimit ?? Number.POSITIVE_INFINITY, limit);
    this.#parts = { context, commands, arena: new Arena(commands.pool) };
    this.#reads = new ReadBuffers(commands.pool);
    this.#slabs = new Slabs(commands.pool, Math.min(commands.bindingLimit, context.device.limits.maxBufferSize));
    this.#context = context;
    this.debug = debug ?? false;
    context.use(this.#user);
  }

  /** @throws E_DISPOSED, E_DEVICE_LOST */
  protected parts(): GpuParts {
    if (this.#parts === null) throw closed();
    if (this.#context.lost) throw this.#context.lost;
    return this.#parts;
  }

  onLost(callback: (error: EspalierError) => void): void {
    if (this.#parts === null) throw closed();
    const { lost } = this.#context;
    if (lost)
      queueMicrotask(() => callback(lost)); // whoever is told is not in the middle of an operation
    else this.#onLost.push(callback);
  }

  tensor(type: ElementType, shape: readonly number[], pool?: TensorPool): Tensor {
    return this.#own((pool && this.#among(type, shape, pool)) ?? this.#zeros(type, shape));
  }

  /** With others of its pool in one buffer. */
  #among(type: ElementType, shape: readonly number[], pool: TensorPool): GpuTensor | null {
    const { commands } = this.parts();
    const bytes = bytesOf(type, shape);
    const place = this.#slabs.take(bytes, pool);
    if (!place) return null;
    const { memory, offset, size } = place;
    commands.clear(memory, offset, size);
    return new GpuTensor(type, shape, 'rows', memory, offset, bytes, (tensor) => {
      this.#live.delete(tensor);
      if (this.#parts) place.give();
    });
  }

  #zeros(type: ElementType, shape: readonly number[]): GpuTensor {
    const { commands } = this.parts();
    const bytes = bytesOf(type, shape);
    const memory = commands.pool.take(bytes);
    if (memory.dirty) commands.clear(memory, 0, memory.size);
    return new GpuTensor(type, shape, 'rows', memory, 0, bytes, this.#release);
  }

  scratch(type: ElementType, shape: readonly number[]): Tensor {
    const bytes = bytesOf(type, shape);
    return new GpuTensor(type, shape, 'rows', this.parts().arena.take(bytes), 0, bytes, null, this.#alive);
  }

  mark(): ArenaMark {
    return this.parts().arena.mark() as unknown as ArenaMark;
  }

  reset(mark: ArenaMark): void {
    // what is computed while the device is closed still ends with this
    this.#parts?.arena.reset(mark as unknown as number);
  }

  rows(t: Tensor, first: number, count: number): Tensor {
    checkRows(t, first, count);
    const width = widthOf(t);
    const bytes = byteLengthOf(t.type, width);
    const owner = t as GpuTensor;
    const [at, length] = [t.offset + first * bytes, count * bytes];
    return new GpuTensor(t.type, [count, width], 'rows', owner.memory, at, length, null, owner);
  }

  write(t: Tensor, data: TensorData, offset = 0): void {
    checkWrite(t, data, offset);
    this.#write(t as GpuTensor, offset * data.BYTES_PER_ELEMENT, ownBytes(data));
  }

  writeBytes(t: Tensor, bytes: Uint8Array): void {
    checkWriteBytes(t, bytes);
    this.#write(t as GpuTensor, 0, ownBytes(bytes));
  }

  /** A GPU is given whole words of 4 bytes. Where a word has other bytes, too, a kernel puts in what is new. */
  #write(t: GpuTensor, at: number, bytes: Uint8Array<ArrayBuffer>): void {
    const { byteLength } = bytes;
    if (byteLength === 0) return;
    const { commands, arena } = this.parts();
    const offset = t.offset + at;
    const rest = (offset + byteLength) % 4;
    // behind the end of a tensor that is no view nothing stands
    const isEnd = !t.isView && at + byteLength === t.byteLength;
    let whole = bytes;
    if (byteLength % 4 !== 0) {
      whole = new Uint8Array(byteLength + 4 - (byteLength % 4));
      whole.set(bytes);
    }
    if (offset % 4 === 0 && (rest === 0 || isEnd)) {
      commands.write(t.memory, offset, whole);
      return;
    }
    const mark = arena.mark();
    const memory = arena.take(whole.byteLength);
    commands.write(memory, 0, whole);
    copyBytes(this.parts(), { memory, offset: 0, byteLength }, { memory: t.memory, offset, byteLength });
    arena.reset(mark);
  }

  read(t: Tensor): Promise<TensorData>;
  read(tensors: readonly Tensor[]): Promise<TensorData[]>;
  async read(t: Tensor | readonly Tensor[]): Promise<TensorData | TensorData[]> {
    const list = 'length' in t ? t : [t];
    for (const one of list) checkRead(one);
    const all = await this.#bytes(list as readonly GpuTensor[]);
    const data = all.map(({ buffer }, i) => tensorData(list[i]!.type, buffer));
    return 'length' in t ? data : data[0]!;
  }

  async readBytes(t: Tensor): Promise<Uint8Array<ArrayBuffer>> {
    checkRowMajor('readBytes', t);
    return (await this.#bytes([t as GpuTensor]))[0]!;
  }

  /** The copies are commands like others, so that the content is as of the call. */
  async #bytes(tensors: readonly GpuTensor[]): Promise<Uint8Array<ArrayBuffer>[]> {
    const { commands } = this.parts();
    const places: number[] = [];
    let size = 0;
    for (const t of tensors) {
      places.push(size);
      size += Math.ceil((t.byteLength + (t.offset % 4)) / 4) * 4;
    }
    const stage = this.#reads.take(size);
    try {
      for (const [i, t] of tensors.entries()) {
        const skipped = t.offset % 4;
        const bytes = Math.ceil((t.byteLength + skipped) / 4) * 4;
        if (bytes > 0) commands.copyOut(t.memory, t.offset - skipped, stage, places[i]!, bytes);
      }
      await commands.settle();
      if (this.#parts === null) throw closed();
      const content = await this.#reads.content(stage, size, (buffer) =>
        tensors.map((t, i) => {
          const at = places[i]! + (t.offset % 4);
          return new Uint8Array(buffer.slice(at, at + t.byteLength));
        }),
      );
      commands.report(); // what was said of the last commands
      return content;
    } catch (error) {
      throw await this.#errorOf(commands, error);
    } finally {
      this.#reads.give(stage);
    }
  }

  async flush(): Promise<void> {
    const { commands, context } = this.parts();
    try {
      await commands.settle();
      if (this.#parts === null) throw closed();
      await context.device.queue.onSubmittedWorkDone();
      await commands.pool.known();
      commands.report();
    } catch (error) {
      throw await this.#errorOf(commands, error);
    }
  }

  /** What is told of an error: of a device that was lost or closed meanwhile that, and else what the GPU said. */
  async #errorOf(commands: Commands, error: unknown): Promise<unknown> {
    if (error instanceof EspalierError) return error;
    // that it is lost, or what it said, is known a little later
    await new Promise((resolve) => setTimeout(resolve, 0));
    await commands.pool.known();
    if (this.#parts === null) return closed();
    try {
      commands.report();
    } catch (told) {
      return told;
    }
    return refusal(String(error), error);
  }

  stats(): DeviceStats {
    let bytes = 0;
    for (const tensor of this.#live.keys()) bytes += tensor.byteLength;
    const pool = this.#parts?.commands.pool;
    return {
      tensors: this.#live.size,
      bytes,
      peakBytes: pool?.peakBytes ?? this.#peakBytes,
      scratchBytes: this.#parts?.arena.mostBytes ?? 0,
    };
  }

  /** Bytes of all buffers that there are, those that wait for another use, too. */
  get heldBytes(): number {
    return this.#parts?.commands.pool.bytes ?? 0;
  }

  /** Dispatches from now on, by the name of their kernel: for measuring. */
  tally(): ReadonlyMap<string, number> {
    const counted = new Map<string, number>();
    this.parts().commands.tally = counted;
    return counted;
  }

  liveTensors(): readonly string[] {
    return [...this.#live].map(([t, made]) => `${t.type} [${t.shape.join(', ')}] ${t.layout}${made && `\n${made}`}`);
  }

  close(): void {
    if (this.#parts === null) return;
    const { arena, commands, context } = this.#parts;
    this.#alive.disposed = true;
    for (const tensor of [...this.#live.keys()]) tensor.dispose();
    arena.reset(0);
    this.#peakBytes = commands.pool.peakBytes;
    this.#reads.close();
    commands.close();
    this.#parts = null;
    this.#onLost.length = 0;
    context.release(this.#user);
  }

  async loadMatrix(source: WeightSource): Promise<Tensor> {
    return this.#load(this.#own(this.#panels([source], [source.rows, source.columns])), [source]);
  }

  async loadMatrices(sources: readonly WeightSource[]): Promise<Tensor> {
    checkMatrices(sources);
    const { rows, columns } = sources[0]!;
    return this.#load(this.#own(this.#panels(sources, [sources.length, rows, columns])), sources);
  }

  matrix(stack: Tensor, index: number): Tensor {
    checkMatrix(stack, index);
    const all = stack as GpuPanels;
    const [, n, k] = stack.shape as [number, number, number];
    return new GpuPanels(all.type, [n, k], all.memory, all.plan, all.firstRow + index * n, null, all);
  }

  async loadVector(source: WeightSource): Promise<Tensor> {
    checkVector(source);
    const tensor = this.#own(this.#zeros('f32', [source.columns]));
    return this.#fill(tensor, async () => this.write(tensor, await readVector(source)));
  }

  /** Room for matrices of one type and shape, behind one another. */
  #panels(sources: readonly WeightSource[], shape: readonly number[]): GpuPanels {
    const { type, rows, columns } = sources[0]!;
    const plan = panelLayout(type, rows * sources.length, columns);
    return new GpuPanels(type, shape, this.parts().commands.pool.take(plan.bytes), plan, 0, this.#release);
  }

  async #load(tensor: GpuPanels, sources: readonly WeightSource[]): Promise<Tensor> {
    return this.#fill(tensor, async () => {
      for (const [i, source] of sources.entries()) {
        await readPanels(source, tensor.plan, i * source.rows, (offset, bytes) => {
          if (bytes.byteLength === 0) return;
          const whole = new Uint8Array(Math.ceil(bytes.byteLength / 4) * 4);
          whole.set(bytes);
          this.parts().commands.write(tensor.memory, offset, bytes.byteLength % 4 === 0 ? bytes : whole);
        });
      }
    });
  }

  /** The tensor with its content, or nothing. */
  async #fill(tensor: Tensor, write: () => Promise<void>): Promise<Tensor> {
    try {
      await write();
      const { commands } = this.parts();
      await commands.pool.known();
      commands.report();
    } catch (error) {
      tensor.dispose();
      throw error;
    }
    return tensor;
  }

  readonly #release = (t: GpuTensor): void => {
    this.#live.delete(t);
    this.#parts?.commands.pool.give(t.memory);
  };

  #own<T extends GpuTensor>(tensor: T): T {
    // V8 puts a line before the frames; two of them are the device's own, this and the method that was called
    const stack = this.debug ? (new Error().stack ?? '').replace(/^Error\n/, '').split('\n') : [];
    this.#live.set(tensor, stack.slice(2).join('\n'));
    return tensor;
  }
}

/** Its bytes, of shared memory as a copy: a GPU is given no other. */
function ownBytes(data: TensorData | Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return data.buffer instanceof ArrayBuffer ? (bytes as Uint8Array<ArrayBuffer>) : bytes.slice();
}

function closed(): EspalierError {
  return new EspalierError('E_DISPOSED', 'The device is closed.', 'Open a new one.');
}
