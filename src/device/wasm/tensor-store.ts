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
import { tensorData } from '../tensor-data.ts';
import { PANEL_TYPE } from './kernels.ts';
import type { ArenaPoint } from './memory.ts';
import type { Parts } from './parts.ts';
import { addressOf, WasmTensor } from './tensor.ts';
import { readPanels, readVector } from './weights.ts';

/** The tensors of a wasm device, and the memory that they stand in. */
export class TensorStore {
  /** Null when it is closed. */
  #parts: Parts | null;
  readonly #live = new Map<WasmTensor, string>();
  /** Tells the tensors of one device from those of another. */
  readonly #storage = {};
  /** Owns all scratch, which counts as disposed with the device. */
  readonly #alive = new WasmTensor('f32', [0], 'rows', this.#storage, 0, 0, null);
  protected readonly debug: boolean;
  #peakBytes = 0;

  protected constructor(parts: Parts, debug: boolean) {
    this.#parts = parts;
    this.debug = debug;
  }

  /** Internal: memory, kernels and lanes, for other computations over them (`LinearAlgebra.over`). @throws E_DISPOSED */
  parts(): Parts {
    if (this.#parts === null) throw new EspalierError('E_DISPOSED', 'The device is closed.', 'Open a new one.');
    return this.#parts;
  }

  /** Parts of operations that other lanes have done so far. */
  get helped(): number {
    return this.#parts?.lanes.helped ?? 0;
  }

  tensor(type: ElementType, shape: readonly number[]): Tensor {
    const tensor = this.#own(type, shape, 'rows', bytesOf(type, shape));
    this.parts().memory.u8.fill(0, tensor.offset, tensor.offset + tensor.byteLength);
    return tensor;
  }

  scratch(type: ElementType, shape: readonly number[]): Tensor {
    const { arena } = this.parts();
    const bytes = bytesOf(type, shape);
    return new WasmTensor(type, shape, 'rows', this.#storage, arena.allocate(bytes), bytes, null, this.#alive);
  }

  mark(): ArenaMark {
    return this.parts().arena.mark() as unknown as ArenaMark;
  }

  reset(mark: ArenaMark): void {
    // what is computed while the device is closed still ends with this
    this.#parts?.arena.reset(mark as unknown as ArenaPoint);
  }

  rows(t: Tensor, first: number, count: number): Tensor {
    checkRows(t, first, count);
    const width = widthOf(t);
    const bytes = byteLengthOf(t.type, width);
    const at = addressOf(t) + first * bytes;
    return new WasmTensor(t.type, [count, width], 'rows', t.storage, at, count * bytes, null, t as WasmTensor);
  }

  write(t: Tensor, data: TensorData, offset = 0): void {
    checkWrite(t, data, offset);
    const at = addressOf(t) + offset * data.BYTES_PER_ELEMENT;
    this.parts().memory.u8.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at);
  }

  read(t: Tensor): Promise<TensorData>;
  read(tensors: readonly Tensor[]): Promise<TensorData[]>;
  async read(t: Tensor | readonly Tensor[]): Promise<TensorData | TensorData[]> {
    return 'length' in t ? t.map((one) => this.#content(one)) : this.#content(t);
  }

  async readBytes(t: Tensor): Promise<Uint8Array<ArrayBuffer>> {
    checkRowMajor('readBytes', t);
    return this.#bytes(t);
  }

  writeBytes(t: Tensor, bytes: Uint8Array): void {
    checkWriteBytes(t, bytes);
    this.parts().memory.u8.set(bytes, addressOf(t));
  }

  stats(): DeviceStats {
    let bytes = 0;
    for (const tensor of this.#live.keys()) bytes += tensor.byteLength;
    const { memory, arena } = this.#parts ?? { memory: null, arena: null };
    const peakBytes = memory?.peakBytes ?? this.#peakBytes;
    return { tensors: this.#live.size, bytes, peakBytes, scratchBytes: arena?.bytes ?? 0 };
  }

  liveTensors(): readonly string[] {
    return [...this.#live].map(([t, made]) => `${t.type} [${t.shape.join(', ')}] ${t.layout}${made && `\n${made}`}`);
  }

  close(): void {
    if (this.#parts === null) return;
    const { lanes, memory } = this.#parts;
    lanes.close();
    this.#alive.dispose();
    for (const tensor of [...this.#live.keys()]) tensor.dispose();
    this.#peakBytes = memory.peakBytes;
    // whoever keeps a closed device, or a model on it, does not keep its memory
    this.#parts = null;
  }

  async loadMatrix(source: WeightSource): Promise<Tensor> {
    const tensor = this.#own(source.type, [source.rows, source.columns], 'panels', this.#panelBytes(source));
    return this.#load(tensor, [source]);
  }

  async loadMatrices(sources: readonly WeightSource[]): Promise<Tensor> {
    checkMatrices(sources);
    const [first, count] = [sources[0]!, sources.length];
    const shape = [count, first.rows, first.columns];
    return this.#load(this.#own(first.type, shape, 'panels', count * this.#panelBytes(first)), sources);
  }

  matrix(stack: Tensor, index: number): Tensor {
    checkMatrix(stack, index);
    const [count, n, k] = stack.shape as [number, number, number];
    const bytes = stack.byteLength / count;
    const at = addressOf(stack) + index * bytes;
    const all = stack as WasmTensor;
    const view = new WasmTensor(stack.type, [n, k], 'panels', stack.storage, at, bytes, null, all);
    view.shifts = [all.shifts[index]!];
    return view;
  }

  async loadVector(source: WeightSource): Promise<Tensor> {
    checkVector(source);
    const tensor = this.#own('f32', [source.columns], 'rows', source.columns * 4);
    const { kernels, memory } = this.parts();
    await orDisposed(tensor, readVector(kernels, memory, source, tensor.offset));
    return tensor;
  }

  #panelBytes({ type, rows, columns }: WeightSource): number {
    return this.parts().kernels.panelBytes(PANEL_TYPE[type], columns) * Math.ceil(rows / 8);
  }

  /** Matrices of one type and shape into the panels of a tensor, behind one another. */
  async #load(tensor: WasmTensor, sources: readonly WeightSource[]): Promise<Tensor> {
    const bytes = tensor.byteLength / sources.length;
    const shifts: number[] = [];
    const read = async () => {
      for (const [i, source] of sources.entries()) {
        const parts = this.parts(); // of a device that was closed meanwhile there are none
        shifts.push(await readPanels(parts, source, tensor.offset + i * bytes));
      }
    };
    await orDisposed(tensor, read());
    tensor.shifts = shifts;
    return tensor;
  }

  #own(type: ElementType, shape: readonly number[], layout: 'rows' | 'panels', bytes: number): WasmTensor {
    const { memory } = this.parts();
    const at = memory.allocate(bytes);
    const tensor = new WasmTensor(type, shape, layout, this.#storage, at, bytes, (t) => {
      this.#live.delete(t);
      this.#parts?.memory.free(t.offset);
    });
    // V8 puts a line before the frames; two of them are the device's own, this and the method that was called
    const stack = this.debug ? (new Error().stack ?? '').replace(/^Error\n/, '').split('\n') : [];
    this.#live.set(tensor, stack.slice(2).join('\n'));
    return tensor;
  }

  #content(t: Tensor): TensorData {
    checkRead(t);
    return tensorData(t.type, this.#bytes(t).buffer);
  }

  #bytes(t: Tensor): Uint8Array<ArrayBuffer> {
    const at = addressOf(t);
    return this.parts().memory.u8.slice(at, at + t.byteLength) as Uint8Array<ArrayBuffer>;
  }
}

async function orDisposed(tensor: Tensor, loaded: Promise<unknown>): Promise<void> {
  try {
    await loaded;
  } catch (error) {
    tensor.dispose();
    throw error;
  }
}
