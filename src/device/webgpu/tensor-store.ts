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
import type { ArenaMark, DeviceStats, ElementType, Tensor, TensorData, WeightSource } from '../device.ts';
import { Commands } from './commands.ts';
import type { GpuContext } from './context.ts';
import { Arena } from './memory.ts';
import type { WebGpuDeviceOptions } from './options.ts';
import { ReadBuffers } from './read-buffers.ts';
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
  readonly #live = new Map<GpuTensor, string>();
  /** Owns all scratch, which counts as disposed with the device. */
  readonly #alive = { disposed: false };
  readonly #context: GpuContext;
  protected readonly debug: boolean;
  #peakBytes = 0;

  protected constructor(context: GpuContext, { memoryLimit, bindingLimit, debug }: WebGpuDeviceOptions) {
    const commands = new Commands(context, memoryLimit ?? Number.POSITIVE_INFINITY, bindingLimit);
    this.#parts = { context, commands, arena: new Arena(commands.pool) };
    this.#reads = new ReadBuffers(context.device);
    this.#context = context;
    this.debug = debug ?? false;
  }

  /** @throws E_DISPOSED, E_DEVICE_LOST */
  protected parts(): GpuParts {
    if (this.#context.lost) throw this.#context.lost;
    if (this.#parts === null) throw closed();
    return this.#parts;
  }

  tensor(type: ElementType, shape: readonly number[]): Tensor {
    const { commands } = this.parts();
    const bytes = bytesOf(type, shape);
    const memory = commands.pool.take(bytes);
    if (memory.dirty) commands.clear(memory, 0, memory.size);
    return this.#own(new GpuTensor(type, shape, 'rows', memory, 0, bytes, this.#release));
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
    this.#write(t as GpuTensor, offset * data.BYTES_PER_ELEMENT, bytesView(data));
  }

  writeBytes(t: Tensor, bytes: Uint8Array): void {
    checkWriteBytes(t, bytes);
    this.#write(t as GpuTensor, 0, bytes);
  }

  /** A word of 4 bytes that data covers in part at its end is filled up with zeros if the tensor ends there. */
  #write(t: GpuTensor, at: number, bytes: Uint8Array): void {
    if (bytes.byteLength === 0) return;
    const { commands } = this.parts();
    const offset = t.offset + at;
    const rest = (offset + bytes.byteLength) % 4;
    const isEnd = t.offset === 0 && at + bytes.byteLength === t.byteLength;
    if (offset % 4 !== 0 || (rest !== 0 && !isEnd)) {
      throw new EspalierError(
        'E_SHAPE',
        `write: ${bytes.byteLength} bytes from byte ${offset} on are no whole words of 4 bytes.`,
        'A GPU writes whole words: give rows of an even number of 16-bit numbers.',
      );
    }
    let whole = bytes as Uint8Array<ArrayBuffer>;
    if (rest !== 0) {
      whole = new Uint8Array(bytes.byteLength + 4 - rest);
      whole.set(bytes);
    }
    commands.write(t.memory, offset, whole);
  }

  read(t: Tensor): Promise<TensorData>;
  read(tensors: readonly Tensor[]): Promise<TensorData[]>;
  async read(t: Tensor | readonly Tensor[]): Promise<TensorData | TensorData[]> {
    const list = 'length' in t ? t : [t];
    for (const one of list) checkRead(one);
    const all = await this.#bytes(list as readonly GpuTensor[]);
    const data = all.map((bytes, i) => typed(list[i]!.type, bytes));
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
      return await this.#reads.content(stage, size, (buffer) =>
        tensors.map((t, i) => {
          const at = places[i]! + (t.offset % 4);
          return new Uint8Array(buffer.slice(at, at + t.byteLength));
        }),
      );
    } catch (error) {
      if (this.#context.lost) throw this.#context.lost;
      if (this.#parts === null) throw closed(); // it was closed meanwhile
      throw error;
    } finally {
      this.#reads.give(stage);
    }
  }

  async flush(): Promise<void> {
    const { commands, context } = this.parts();
    await commands.settle();
    await context.device.queue.onSubmittedWorkDone();
    await commands.pool.known();
    commands.report();
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
    context.release();
  }

  async loadMatrix(source: WeightSource): Promise<Tensor> {
    return this.#load([source], [source.rows, source.columns]);
  }

  async loadMatrices(sources: readonly WeightSource[]): Promise<Tensor> {
    checkMatrices(sources);
    const [first] = sources;
    return this.#load(sources, [sources.length, first!.rows, first!.columns]);
  }

  matrix(stack: Tensor, index: number): Tensor {
    checkMatrix(stack, index);
    const all = stack as GpuPanels;
    const [, n, k] = stack.shape as [number, number, number];
    return new GpuPanels(all.type, [n, k], all.memory, all.plan, all.firstRow + index * n, null, all);
  }

  async loadVector(source: WeightSource): Promise<Tensor> {
    checkVector(source);
    this.parts();
    const values = await readVector(source);
    const tensor = this.tensor('f32', [source.columns]);
    if (values.length > 0) this.write(tensor, values);
    return tensor;
  }

  /** Matrices of one type and shape, behind one another. */
  async #load(sources: readonly WeightSource[], shape: readonly number[]): Promise<Tensor> {
    const [first] = sources;
    const { type, rows, columns } = first!;
    const plan = panelLayout(type, rows * sources.length, columns);
    const memory = this.parts().commands.pool.take(plan.bytes);
    const tensor = this.#own(new GpuPanels(type, shape, memory, plan, 0, this.#release)) as GpuPanels;
    try {
      for (const [i, source] of sources.entries()) {
        await readPanels(source, plan, i * rows, (offset, bytes) => {
          if (bytes.byteLength === 0) return;
          const whole = new Uint8Array(Math.ceil(bytes.byteLength / 4) * 4);
          whole.set(bytes);
          this.parts().commands.write(memory, offset, bytes.byteLength % 4 === 0 ? bytes : whole);
        });
      }
      await this.parts().commands.pool.known();
      this.parts().commands.report();
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

  #own(tensor: GpuTensor): GpuTensor {
    // V8 puts a line before the frames; two of them are the device's own, this and the method that was called
    const stack = this.debug ? (new Error().stack ?? '').replace(/^Error\n/, '').split('\n') : [];
    this.#live.set(tensor, stack.slice(2).join('\n'));
    return tensor;
  }
}

function typed(type: ElementType, { buffer }: Uint8Array<ArrayBuffer>): TensorData {
  if (type === 'f32') return new Float32Array(buffer);
  if (type === 'i32') return new Int32Array(buffer);
  if (type === 'u32') return new Uint32Array(buffer);
  return new Uint16Array(buffer);
}

/** Of shared memory a copy, which is what a GPU can be given. */
function bytesView(data: TensorData): Uint8Array {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return data.buffer instanceof ArrayBuffer ? bytes : bytes.slice();
}

function closed(): EspalierError {
  return new EspalierError('E_DISPOSED', 'The device is closed.', 'Open a new one.');
}
