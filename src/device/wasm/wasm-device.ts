import { EspalierError } from '../../errors.ts';
import { checked } from '../../options/check.ts';
import type {
  ArenaMark,
  AttentionArguments,
  DeviceStats,
  ElementType,
  MatmulOptions,
  PlaceArguments,
  Precision,
  RopeLayout,
  RouteRule,
  StoredRows,
  Tensor,
  TensorData,
  WeightSource,
} from '../device.ts';
import type { ExactDevice, PerturbArguments } from '../exact-device.ts';
import { type Kernels, PANEL_TYPE } from './kernels.ts';
import { type Call, checkLanes } from './lanes.ts';
import { hasRelaxedSimd, instantiate, type KernelModule, loadKernels } from './load-kernels.ts';
import { logitStats, topK } from './logits.ts';
import { type ArenaPoint, newMemory, WasmMemory } from './memory.ts';
import { type WasmDeviceOptions, wasmDeviceOptions } from './options.ts';
import { type Parts, partsOf } from './parts.ts';
import { perturb } from './perturb.ts';
import { spawnLane } from './spawn-lane.ts';
import { placeRows, storeRows } from './stored-rows.ts';
import { addressOf, ELEMENT_BYTES, elements, rowsOf, shapeError, WasmTensor, weightOf } from './tensor.ts';
import { dotName, microName, type Tuning, tune } from './tune.ts';
import { readPanels, readVector } from './weights.ts';

/** Timed once a process for each kind of kernels: the processor does not change. */
const tunings = new Map<boolean, Tuning>();

/** The CPU device. Operations run when they are called. */
export class WasmDevice implements ExactDevice {
  readonly kind = 'wasm' as const;
  readonly description: Readonly<Record<string, string>>;
  readonly tuning: Tuning;
  /** Threads that compute together. */
  readonly lanes: number;
  #parts: Parts | null;
  readonly #live = new Map<WasmTensor, string>();
  /** Owns all scratch, which counts as disposed with the device. */
  readonly #alive = new WasmTensor('f32', [0], 'rows', 0, 0, null);
  readonly #debug: boolean;
  #peakBytes = 0;

  /** @throws E_DEVICE_UNSUPPORTED, E_OUT_OF_MEMORY, E_FILE_NOT_FOUND; E_WORKER_LOST when a lane does not start */
  static async create(given: WasmDeviceOptions = {}): Promise<WasmDevice> {
    const options = checked<WasmDeviceOptions>(wasmDeviceOptions, given, 'WasmDevice.create');
    const relaxed = options.relaxed ?? hasRelaxedSimd();
    const count = options.lanes ?? 1;
    checkLanes(count, options.shared);
    const module = await loadKernels(options.shared ?? count > 1, relaxed, options.wasmLocation);
    const memory = newMemory(module.shared);
    const device = new WasmDevice(module, await instantiate(module, memory), memory, options);
    try {
      await Promise.all(device.#open.lanes.seats().map(options.spawnLane ?? spawnLane));
    } catch (cause) {
      device.close();
      if (cause instanceof EspalierError) throw cause;
      throw new EspalierError('E_WORKER_LOST', 'A lane did not start.', 'Ask for fewer lanes.', { cause });
    }
    return device;
  }

  private constructor(
    module: KernelModule,
    kernels: Kernels,
    wasmMemory: WebAssembly.Memory,
    options: WasmDeviceOptions,
  ) {
    const memory = new WasmMemory(wasmMemory, kernels.heapBase(), options.memoryLimit);
    this.#debug = options.debug ?? false;
    let measured = tunings.get(module.relaxed);
    if (measured === undefined && (options.tuning?.micro === undefined || options.tuning.dot === undefined)) {
      measured = tune(kernels, memory, module.relaxed);
      tunings.set(module.relaxed, measured);
    }
    const tuning = { ...(measured as Tuning), ...options.tuning };
    this.#parts = partsOf(kernels, module.module, memory, tuning, options.lanes ?? 1);
    memory.peakBytes = memory.bytesInUse;
    this.tuning = tuning;
    this.lanes = this.#parts.lanes.count;
    this.description = {
      device: 'wasm',
      simd: module.relaxed ? 'relaxed' : 'plain',
      memory: module.shared ? 'shared' : 'plain',
      gemm: microName(tuning.micro),
      dot: dotName(tuning.dot),
      lanes: `${this.lanes} ${this.lanes === 1 ? 'lane' : 'lanes'}`,
    };
  }

  /** A command to all lanes in which nothing is done: for measuring what sharing out costs. */
  barrier(): void {
    this.#open.lanes.dispatch(Array.from({ length: this.lanes }, (): Call[] => [['scale', [0, 1, 0]]]));
  }

  /** Parts of operations that other lanes have done so far. */
  get helped(): number {
    return this.#parts?.lanes.helped ?? 0;
  }

  /** Internal: memory, kernels and lanes, for other computations over them (`LinearAlgebra.over`). @throws E_DISPOSED */
  parts(): Pick<Parts, 'kernels' | 'memory' | 'lanes'> {
    return this.#open;
  }

  // ---- memory

  tensor(type: ElementType, shape: readonly number[]): Tensor {
    const tensor = this.#own(type, shape, 'rows', this.#rowBytes(type, shape));
    this.#open.memory.u8.fill(0, tensor.at, tensor.at + tensor.byteLength);
    return tensor;
  }

  scratch(type: ElementType, shape: readonly number[]): Tensor {
    const { arena } = this.#open;
    const bytes = this.#rowBytes(type, shape);
    return new WasmTensor(type, shape, 'rows', arena.allocate(bytes), bytes, null, this.#alive);
  }

  mark(): ArenaMark {
    return this.#open.arena.mark() as unknown as ArenaMark;
  }

  reset(mark: ArenaMark): void {
    // what is computed while the device is closed still ends with this
    this.#parts?.arena.reset(mark as unknown as ArenaPoint);
  }

  rows(t: Tensor, first: number, count: number): Tensor {
    const at = addressOf(t, 'rows');
    const { rows, width } = rowsOf(t);
    if (first < 0 || count < 0 || first + count > rows) throw shapeError('rows', `${first} + ${count} of ${rows} rows`);
    const bytes = width * ELEMENT_BYTES[t.type as 'f32'];
    return new WasmTensor(t.type, [count, width], 'rows', at + first * bytes, count * bytes, null, t as WasmTensor);
  }

  write(t: Tensor, data: TensorData, offset = 0): void {
    const at = addressOf(t, 'write');
    const size = ELEMENT_BYTES[t.type as 'f32'];
    if (size !== data.BYTES_PER_ELEMENT) throw shapeError('write', `${data.constructor.name} into ${t.type}`);
    if (offset < 0 || offset * size + data.byteLength > t.byteLength)
      throw shapeError('write', 'data beyond the tensor');
    this.#open.memory.u8.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at + offset * size);
  }

  read(t: Tensor): Promise<TensorData>;
  read(tensors: readonly Tensor[]): Promise<TensorData[]>;
  async read(t: Tensor | readonly Tensor[]): Promise<TensorData | TensorData[]> {
    return 'length' in t ? t.map((one) => this.#content(one)) : this.#content(t);
  }

  async readBytes(t: Tensor): Promise<Uint8Array<ArrayBuffer>> {
    return this.#bytes(t);
  }

  writeBytes(t: Tensor, bytes: Uint8Array): void {
    const at = addressOf(t, 'write');
    if (bytes.byteLength !== t.byteLength) throw shapeError('write', `${bytes.byteLength} bytes into ${t.byteLength}`);
    this.#open.memory.u8.set(bytes, at);
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

  // ---- weights

  async loadMatrix(source: WeightSource): Promise<Tensor> {
    return this.#load([source], [source.rows, source.columns]);
  }

  async loadMatrices(sources: readonly WeightSource[]): Promise<Tensor> {
    const [first] = sources;
    if (first === undefined) throw shapeError('loadMatrices', 'there is no matrix');
    const { rows, columns, type } = first;
    for (const other of sources) {
      if (other.rows !== rows || other.columns !== columns || other.type !== type) {
        const [a, b] = [first, other].map((s) => `${s.name} is ${s.type} [${s.rows}, ${s.columns}]`);
        throw shapeError('loadMatrices', `${a}, and ${b}`);
      }
    }
    return this.#load(sources, [sources.length, rows, columns]);
  }

  matrix(stack: Tensor, index: number): Tensor {
    const all = weightOf(stack, 'matrix', 3);
    const [count, n, k] = all.shape as [number, number, number];
    if (!(Number.isInteger(index) && index >= 0 && index < count)) throw shapeError('matrix', `${index} of ${count}`);
    const bytes = all.byteLength / count;
    const view = new WasmTensor(all.type, [n, k], 'panels', all.at + index * bytes, bytes, null, all);
    view.shifts = [all.shifts[index]!];
    return view;
  }

  async loadVector(source: WeightSource): Promise<Tensor> {
    const tensor = this.#own('f32', [source.columns], 'rows', source.columns * 4);
    try {
      await readVector(this.#open.kernels, this.#open.memory, source, tensor.at);
    } catch (error) {
      tensor.dispose();
      throw error;
    }
    return tensor;
  }

  // ---- products

  linear(x: Tensor, weights: readonly Tensor[], outs: readonly Tensor[], precision: Precision): void {
    this.#open.products.linear(x, weights, outs, precision);
  }

  matmul(a: Tensor, b: Tensor, c: Tensor, options: MatmulOptions = {}): void {
    this.#open.products.matmul(a, b, c, options);
  }

  embed(ids: Tensor, weight: Tensor, out: Tensor): void {
    this.#open.rows.embed(ids, weight, out);
  }

  // ---- layers

  rmsNorm(x: Tensor, weight: Tensor, out: Tensor, eps: number): void {
    this.#open.layers.rmsNorm(x, weight, out, eps);
  }

  addRmsNorm(x: Tensor, residual: Tensor, weight: Tensor, out: Tensor, eps: number): void {
    this.#open.layers.addRmsNorm(x, residual, weight, out, eps);
  }

  rope(x: Tensor, table: Tensor, positions: Tensor | number, layout: RopeLayout): void {
    this.#open.layers.rope(x, table, positions, layout);
  }

  attention(args: AttentionArguments): void {
    this.#open.attention.run(args);
  }

  storeRows(from: Tensor, to: StoredRows, toRow: number, heads: number): void {
    storeRows(this.#open.lanes, from, to, toRow, heads);
  }

  placeRows(args: PlaceArguments): void {
    placeRows(this.#open.arena, this.#open.memory, this.#open.lanes, args);
  }

  siluMultiply(gate: Tensor, up: Tensor, out: Tensor): void {
    this.#open.layers.siluMultiply(gate, up, out);
  }

  add(x: Tensor, y: Tensor): void {
    this.#open.layers.add(x, y);
  }

  addBias(bias: Tensor, y: Tensor): void {
    this.#open.layers.addBias(bias, y);
  }

  scale(x: Tensor, factor: number): void {
    this.#open.layers.scale(x, factor);
  }

  softmax(x: Tensor): void {
    this.#open.layers.softmax(x);
  }

  copyRows(from: Tensor, to: Tensor, toRow: number): void {
    this.#open.rows.copy(from, to, toRow);
  }

  cast(from: Tensor, to: Tensor): void {
    this.#open.rows.cast(from, to);
  }

  // ---- experts

  route(logits: Tensor, bias: Tensor | null, rule: RouteRule, places: Tensor, weights: Tensor): void {
    this.#open.routing.route(logits, bias, rule, places, weights);
  }

  dispatch(places: Tensor, order: Tensor, offsets: Tensor): void {
    this.#open.routing.dispatch(places, order, offsets);
  }

  gatherRows(x: Tensor, order: Tensor, out: Tensor): void {
    this.#open.routing.gatherRows(x, order, out);
  }

  linearGrouped(
    x: Tensor,
    offsets: Tensor,
    weights: readonly Tensor[],
    outs: readonly Tensor[],
    precision: Precision,
  ): void {
    const at = addressOf(offsets, 'linearGrouped', 'i32');
    const list = new Int32Array(this.#open.memory.memory.buffer, at, elements(offsets.shape)).slice();
    this.#open.products.linearGrouped(x, list, weights, outs, precision);
  }

  combine(y: Tensor, order: Tensor, weights: Tensor, out: Tensor): void {
    this.#open.routing.combine(y, order, weights, out);
  }

  sigmoidScale(gate: Tensor, x: Tensor): void {
    this.#open.routing.sigmoidScale(gate, x);
  }

  perturb(args: PerturbArguments): void {
    perturb(this.#open.kernels, this.#open.arena, this.#open.lanes, args);
  }

  // ---- logits

  logitStats(logits: Tensor, targets: Tensor | null, tsallisOrder: number, numbers: Tensor, places: Tensor): void {
    logitStats(this.#open.kernels, logits, targets, tsallisOrder, numbers, places);
  }

  topK(logits: Tensor, k: number, values: Tensor, places: Tensor): void {
    topK(this.#open.kernels, logits, k, values, places);
  }

  async flush(): Promise<void> {}

  // ---- internal

  #rowBytes(type: ElementType, shape: readonly number[]): number {
    const size = ELEMENT_BYTES[type as 'f32'];
    if (size === undefined) throw shapeError('tensor', `${type} exists only as a weight in panels`);
    if (!shape.every((n) => Number.isSafeInteger(n) && n >= 0))
      throw shapeError('tensor', `shape [${shape.join(', ')}]`);
    return elements(shape) * size;
  }

  #content(t: Tensor): TensorData {
    if (t.type === 'i8') throw shapeError('read', 'got i8, which readBytes gives');
    const { buffer } = this.#bytes(t);
    if (t.type === 'f32') return new Float32Array(buffer);
    if (t.type === 'i32') return new Int32Array(buffer);
    if (t.type === 'u32') return new Uint32Array(buffer);
    return new Uint16Array(buffer);
  }

  #bytes(t: Tensor): Uint8Array<ArrayBuffer> {
    const at = addressOf(t, 'read');
    return this.#open.memory.u8.slice(at, at + t.byteLength) as Uint8Array<ArrayBuffer>;
  }

  /** @throws E_DISPOSED */
  get #open(): Parts {
    if (this.#parts === null) throw new EspalierError('E_DISPOSED', 'The device is closed.', 'Open a new one.');
    return this.#parts;
  }

  /** Matrices of one type and shape into panels behind one another. */
  async #load(sources: readonly WeightSource[], shape: readonly number[]): Promise<Tensor> {
    const { kernels } = this.#open;
    const { type, rows, columns } = sources[0]!;
    const bytes = kernels.panelBytes(PANEL_TYPE[type], columns) * Math.ceil(rows / 8);
    const tensor = this.#own(type, shape, 'panels', sources.length * bytes);
    try {
      const shifts: number[] = [];
      for (const [i, source] of sources.entries()) {
        const { kernels: k, memory } = this.#open; // closed in between, it ends here
        shifts.push(await readPanels(k, memory, source, tensor.at + i * bytes));
      }
      tensor.shifts = shifts;
    } catch (error) {
      tensor.dispose();
      throw error;
    }
    return tensor;
  }

  #own(type: ElementType, shape: readonly number[], layout: 'rows' | 'panels', bytes: number): WasmTensor {
    const { memory } = this.#open;
    const at = memory.allocate(bytes);
    const tensor = new WasmTensor(type, shape, layout, at, bytes, (t) => {
      this.#live.delete(t);
      this.#parts?.memory.free(t.at);
    });
    // V8 puts a line before the frames; two of them are the device's own
    const stack = this.#debug ? (new Error().stack ?? '').replace(/^Error\n/, '').split('\n') : [];
    this.#live.set(tensor, stack.slice(2).join('\n'));
    return tensor;
  }
}
