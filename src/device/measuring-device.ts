import { byteLengthOf } from '../element-types.ts';
import { EspalierError } from '../errors.ts';
import { bytesOf } from './checks/memory.ts';
import { elements, widthOf } from './checks/tensor.ts';
import type { ArenaMark, ElementType, Tensor, TensorData, WeightSource } from './device.ts';
import type { TrainDevice } from './train-device.ts';

/** Memory begins at multiples of this, as on the wasm device. */
const ALIGN = 64;

/** What would be held. */
export interface Measured {
  /** Of tensors that own memory, now. */
  readonly bytes: number;
  /** The most that scratch took at once. */
  readonly scratchBytes: number;
  /** The most of both together, scratch never given back. */
  readonly peakBytes: number;
}

/**
 * A device that computes nothing and holds nothing: it counts what another would hold, so that a plan of memory is what the program does and
 * no formula beside it. Sources of weights are not read; `read` gives zeros. What operations take for themselves inside is not counted.
 * @param scratchBytes that an earlier part of the same program has taken
 */
export function measuringDevice(scratchBytes = 0): { readonly device: TrainDevice; measured(): Measured } {
  const memory = new Counted(scratchBytes);
  // operations are calls that give nothing back
  const device = new Proxy(memory, {
    get: (target, name) => (name in target ? target[name as keyof Counted] : name === 'then' ? undefined : () => {}),
  }) as unknown as TrainDevice;
  return { device, measured: () => memory.measured() };
}

class Counted {
  readonly kind = 'wasm';
  readonly asynchronous = false;
  readonly description = {};
  #bytes = 0;
  #scratch = 0;
  #mostScratch: number;
  #peak: number;

  constructor(scratchBytes: number) {
    this.#mostScratch = scratchBytes;
    this.#peak = scratchBytes;
  }

  measured(): Measured {
    return { bytes: this.#bytes, scratchBytes: this.#mostScratch, peakBytes: this.#peak };
  }

  readonly tensor = (type: ElementType, shape: readonly number[]): Tensor =>
    this.#own(type, shape, 'rows', bytesOf(type, shape));

  readonly scratch = (type: ElementType, shape: readonly number[]): Tensor => {
    const bytes = bytesOf(type, shape);
    this.#scratch += aligned(bytes);
    this.#mostScratch = Math.max(this.#mostScratch, this.#scratch);
    this.#look();
    return new Empty(type, shape, 'rows', bytes, () => {});
  };

  readonly mark = (): ArenaMark => this.#scratch as unknown as ArenaMark;

  readonly reset = (mark: ArenaMark): void => {
    this.#scratch = mark as unknown as number;
  };

  readonly rows = (t: Tensor, first: number, count: number): Tensor => {
    const width = byteLengthOf(t.type, widthOf(t));
    return new Empty(t.type, [count, widthOf(t)], 'rows', count * width, () => {}, [
      t.storage,
      t.offset + first * width,
    ]);
  };

  readonly loadMatrix = async (source: WeightSource): Promise<Tensor> =>
    this.#own(source.type, [source.rows, source.columns], 'panels', panelBytes(source));

  readonly loadMatrices = async (sources: readonly WeightSource[]): Promise<Tensor> => {
    const [first] = sources;
    if (first === undefined) throw new EspalierError('E_SHAPE', 'There is no matrix.', 'Give one or more.');
    const shape = [sources.length, first.rows, first.columns];
    return this.#own(first.type, shape, 'panels', sources.length * panelBytes(first));
  };

  readonly matrix = (stack: Tensor): Tensor =>
    new Empty(stack.type, stack.shape.slice(1), 'panels', stack.byteLength / stack.shape[0]!, () => {});

  readonly loadVector = async (source: WeightSource): Promise<Tensor> =>
    this.#own('f32', [source.columns], 'rows', 4 * source.columns);

  readonly read = async (t: Tensor | readonly Tensor[]): Promise<TensorData | TensorData[]> =>
    'length' in t ? t.map(zeros) : zeros(t);

  readonly readBytes = async (t: Tensor): Promise<Uint8Array> => new Uint8Array(t.byteLength);

  readonly flush = async (): Promise<void> => {};

  #own(type: ElementType, shape: readonly number[], layout: Tensor['layout'], bytes: number): Tensor {
    const held = aligned(bytes);
    this.#bytes += held;
    this.#look();
    return new Empty(type, shape, layout, bytes, () => {
      this.#bytes -= held;
    });
  }

  #look(): void {
    this.#peak = Math.max(this.#peak, this.#bytes + this.#mostScratch);
  }
}

class Empty implements Tensor {
  readonly type: ElementType;
  readonly shape: readonly number[];
  readonly layout: Tensor['layout'];
  readonly storage: object;
  readonly offset: number;
  readonly byteLength: number;
  disposed = false;
  readonly #free: () => void;

  /** @param place in the storage of another */
  constructor(
    type: ElementType,
    shape: readonly number[],
    layout: Tensor['layout'],
    bytes: number,
    free: () => void,
    place?: readonly [storage: object, offset: number],
  ) {
    [this.storage, this.offset] = place ?? [this, 0];
    this.type = type;
    this.shape = shape;
    this.layout = layout;
    this.byteLength = bytes;
    this.#free = free;
  }

  dispose(): void {
    if (!this.disposed) this.#free();
    this.disposed = true;
  }
}

const aligned = (bytes: number): number => Math.ceil(bytes / ALIGN) * ALIGN;

/** Eight rows stand together. */
function panelBytes({ type, rows, columns }: WeightSource): number {
  return Math.ceil(rows / 8) * 8 * byteLengthOf(type, columns);
}

function zeros(t: Tensor): TensorData {
  const count = elements(t.shape);
  switch (t.type) {
    case 'f32':
      return new Float32Array(count);
    case 'i32':
      return new Int32Array(count);
    case 'u32':
      return new Uint32Array(count);
    default:
      return new Uint16Array(count);
  }
}
