import { EspalierError } from '../../errors.ts';
import { checked } from '../../options/check.ts';
import { checkAttention } from '../checks/attention.ts';
import { checkCacheRows } from '../checks/cache-rows.ts';
import {
  checkAdd,
  checkAddBias,
  checkAddRmsNorm,
  checkGatedActivation,
  checkInPlace,
  checkRmsNorm,
  checkRope,
  checkScaleRows,
} from '../checks/layers.ts';
import { checkLogitStats, checkTopK } from '../checks/logits.ts';
import { checkPerturb } from '../checks/perturb.ts';
import { checkLinear, checkLinearGrouped, checkMatmul } from '../checks/products.ts';
import { checkCombine, checkDispatch, checkGatherRows, checkRoute, checkSigmoidScale } from '../checks/routing.ts';
import { checkCast, checkColumn, checkCopyRows, checkEmbed } from '../checks/rows.ts';
import { checkAttendEach } from '../checks/step.ts';
import { checkPlaceRows, checkStoreRows } from '../checks/stored-rows.ts';
import { elements, heightOf, widthOf } from '../checks/tensor.ts';
import type {
  AttentionArguments,
  CacheRowsArguments,
  GatedActivation,
  MatmulOptions,
  PlaceArguments,
  Precision,
  RopeLayout,
  RouteRule,
  StepArguments,
  StoredRows,
  Tensor,
} from '../device.ts';
import type { ExactDevice, PerturbArguments } from '../exact-device.ts';
import type { Call } from './calls.ts';
import { checkLanes } from './lanes.ts';
import { hasRelaxedSimd, instantiate, type KernelModule, loadKernels } from './load-kernels.ts';
import { logitStats, topK } from './logits.ts';
import { newMemory, WasmMemory } from './memory.ts';
import { type WasmDeviceOptions, wasmDeviceOptions } from './options.ts';
import { type Parts, partsOf } from './parts.ts';
import { perturb } from './perturb.ts';
import { checkNumbers, checkOffsets, checkOrder } from './promises.ts';
import { spawnLane } from './spawn-lane.ts';
import { attendEach } from './step-attention.ts';
import { placeRows, storeRows } from './stored-rows.ts';
import { TensorStore } from './tensor-store.ts';
import { dotName, microName, type Tuning, tune } from './tune.ts';

/** Timed once a thread for each kind of kernels: the processor does not change. */
const tunings = new Map<boolean, Tuning>();

export type WasmDeviceStart = readonly [parts: Parts, tuning: Tuning, module: KernelModule, debug: boolean];

/** The CPU device. Operations run when they are called. */
export class WasmDevice extends TensorStore implements ExactDevice {
  readonly kind = 'wasm' as const;
  readonly asynchronous = false;
  readonly description: Readonly<Record<string, string>>;
  readonly tuning: Tuning;
  /** Threads that compute together. */
  readonly lanes: number;

  /** @throws E_DEVICE_UNSUPPORTED, E_OUT_OF_MEMORY, E_FILE_NOT_FOUND; E_WORKER_LOST when a lane does not start */
  static async create(given: WasmDeviceOptions = {}): Promise<WasmDevice> {
    return WasmDevice.start(given, (...start) => new WasmDevice(...start));
  }

  /** As `create`, of any class of it. */
  protected static async start<D extends WasmDevice>(
    given: WasmDeviceOptions,
    construct: (...start: WasmDeviceStart) => D,
  ): Promise<D> {
    const options = checked<WasmDeviceOptions>(wasmDeviceOptions, given, 'WasmDevice.create');
    const relaxed = options.relaxed ?? hasRelaxedSimd();
    const count = options.lanes ?? 1;
    checkLanes(count, options.shared);
    const module = await loadKernels(options.shared ?? count > 1, relaxed, options.wasmLocation);
    const memory = newMemory(module.shared);
    const kernels = await instantiate(module, memory);
    const wasmMemory = new WasmMemory(memory, kernels.heapBase(), options.memoryLimit);
    let measured = tunings.get(relaxed);
    if (measured === undefined && (options.tuning?.micro === undefined || options.tuning.dot === undefined)) {
      measured = tune(kernels, wasmMemory, relaxed);
      tunings.set(relaxed, measured);
    }
    const tuning = { ...(measured as Tuning), ...options.tuning };
    const parts = partsOf(kernels, module.module, wasmMemory, tuning, count);
    wasmMemory.peakBytes = wasmMemory.bytesInUse;
    const device = construct(parts, tuning, module, options.debug ?? false);
    try {
      const start = options.spawnLane ?? spawnLane;
      await Promise.all(parts.lanes.seats().map((seat) => start(seat, parts.lanes.lookOut())));
    } catch (cause) {
      device.close();
      if (cause instanceof EspalierError) throw cause;
      throw new EspalierError('E_WORKER_LOST', 'A lane did not start.', 'Ask for fewer lanes.', { cause });
    }
    return device;
  }

  protected constructor(...[parts, tuning, module, debug]: WasmDeviceStart) {
    super(parts, debug);
    this.tuning = tuning;
    this.lanes = parts.lanes.count;
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
    this.parts().lanes.dispatch(Array.from({ length: this.lanes }, (): Call[] => [['scale', [0, 1, 0]]]));
  }

  // ---- products

  linear(x: Tensor, weights: readonly Tensor[], outs: readonly Tensor[], precision: Precision, alone = false): void {
    checkLinear(x, weights, outs);
    this.parts().products.linear(x, weights, outs, precision, alone);
  }

  matmul(a: Tensor, b: Tensor, c: Tensor, options: MatmulOptions = {}): void {
    checkMatmul(a, b, c, options);
    this.parts().products.matmul(a, b, c, options);
  }

  embed(ids: Tensor, weight: Tensor, out: Tensor): void {
    checkEmbed(ids, weight, out);
    const { memory, rows } = this.parts();
    if (this.debug) checkNumbers(memory, 'embed', ids, 0, weight.shape[0]!);
    rows.embed(ids, weight, out);
  }

  // ---- layers

  rmsNorm(x: Tensor, weight: Tensor, out: Tensor, eps: number): void {
    checkRmsNorm(x, weight, out);
    this.parts().layers.rmsNorm(x, weight, out, eps);
  }

  addRmsNorm(x: Tensor, residual: Tensor, weight: Tensor, out: Tensor, eps: number): void {
    checkAddRmsNorm(x, residual, weight, out);
    this.parts().layers.addRmsNorm(x, residual, weight, out, eps);
  }

  rope(x: Tensor, table: Tensor, positions: Tensor | number, layout: RopeLayout): void {
    checkRope(x, table, positions, layout);
    const { memory, layers } = this.parts();
    if (this.debug && typeof positions !== 'number') {
      checkNumbers(memory, 'rope', positions, 0, elements(table.shape) / layout.rotaryDims);
    }
    layers.rope(x, table, positions, layout);
  }

  cacheRows(args: CacheRowsArguments): void {
    checkCacheRows(args);
    const { q, k, v, keys, values, toRow, table, positions, queryLayout, keyLayout } = args;
    const { memory, layers, rows } = this.parts();
    if (table) {
      if (this.debug) checkNumbers(memory, 'cacheRows', positions, 0, elements(table.shape) / keyLayout.rotaryDims);
      if (q) layers.rope(q, table, positions, queryLayout);
      layers.rope(k, table, positions, keyLayout);
    }
    rows.copy(k, keys, toRow);
    rows.copy(v, values, toRow);
  }

  attention(args: AttentionArguments): void {
    checkAttention(args);
    this.parts().attention.run(args);
  }

  attendEach(args: StepArguments): void {
    checkAttendEach(args);
    attendEach(this, this.parts(), args);
  }

  storeRows(from: Tensor, to: StoredRows, toRow: number, heads: number): void {
    checkStoreRows(from, to, toRow, heads);
    const { arena, lanes } = this.parts();
    storeRows(arena, lanes, from, to, toRow, heads);
  }

  placeRows(args: PlaceArguments): void {
    checkPlaceRows(args);
    const { arena, memory, lanes } = this.parts();
    placeRows(arena, memory, lanes, args);
  }

  gatedActivation(kind: GatedActivation, gate: Tensor, up: Tensor, out: Tensor): void {
    checkGatedActivation(gate, up, out);
    this.parts().layers.gatedActivation(kind, gate, up, out);
  }

  add(x: Tensor, y: Tensor): void {
    checkAdd(x, y);
    this.parts().layers.add(x, y);
  }

  addBias(bias: Tensor, y: Tensor): void {
    checkAddBias(bias, y);
    this.parts().layers.addBias(bias, y);
  }

  scale(x: Tensor, factor: number): void {
    checkInPlace('scale', x);
    this.parts().layers.scale(x, factor);
  }

  scaleRows(x: Tensor, coefficients: Tensor, column: number, out: Tensor): void {
    checkScaleRows(x, coefficients, column, out);
    this.parts().layers.scaleRows(x, coefficients, column, out);
  }

  softmax(x: Tensor): void {
    checkInPlace('softmax', x);
    this.parts().layers.softmax(x);
  }

  copyRows(from: Tensor, to: Tensor, toRow: number): void {
    checkCopyRows(from, to, toRow);
    this.parts().rows.copy(from, to, toRow);
  }

  column(x: Tensor, column: number, out: Tensor): void {
    checkColumn(x, column, out);
    this.parts().rows.column(x, column, out);
  }

  cast(from: Tensor, to: Tensor): void {
    checkCast(from, to);
    this.parts().rows.cast(from, to);
  }

  // ---- experts

  route(logits: Tensor, bias: Tensor | null, rule: RouteRule, places: Tensor, weights: Tensor): void {
    checkRoute(logits, bias, rule, places, weights);
    this.parts().routing.route(logits, bias, rule, places, weights);
  }

  dispatch(places: Tensor, order: Tensor, offsets: Tensor): void {
    checkDispatch(places, order, offsets);
    const { memory, routing } = this.parts();
    if (this.debug) checkNumbers(memory, 'dispatch', places, 0, elements(offsets.shape) - 1);
    routing.dispatch(places, order, offsets);
  }

  gatherRows(x: Tensor, order: Tensor, out: Tensor): void {
    checkGatherRows(x, order, out);
    const { memory, routing } = this.parts();
    if (this.debug) checkOrder(memory, 'gatherRows', order);
    routing.gatherRows(x, order, out);
  }

  linearGrouped(
    x: Tensor,
    offsets: Tensor,
    weights: readonly Tensor[],
    outs: readonly Tensor[],
    precision: Precision,
    alone = false,
  ): void {
    checkLinearGrouped(x, offsets, weights, outs);
    const { memory, products } = this.parts();
    if (this.debug) checkOffsets(memory, 'linearGrouped', offsets, heightOf(x));
    products.linearGrouped(x, offsets, weights, outs, precision, alone);
  }

  combine(y: Tensor, order: Tensor, weights: Tensor, out: Tensor): void {
    checkCombine(y, order, weights, out);
    const { memory, routing } = this.parts();
    if (this.debug) checkOrder(memory, 'combine', order);
    routing.combine(y, order, weights, out);
  }

  sigmoidScale(gate: Tensor, x: Tensor): void {
    checkSigmoidScale(gate, x);
    this.parts().routing.sigmoidScale(gate, x);
  }

  perturb(args: PerturbArguments): void {
    checkPerturb(args);
    const { kernels, arena, lanes } = this.parts();
    perturb(kernels, arena, lanes, args);
  }

  // ---- logits

  logitStats(logits: Tensor, targets: Tensor | null, tsallisOrder: number, numbers: Tensor, places: Tensor): void {
    checkLogitStats(logits, targets, tsallisOrder, numbers, places);
    const { memory, lanes } = this.parts();
    if (this.debug && targets) checkNumbers(memory, 'logitStats', targets, -(2 ** 31), widthOf(logits));
    logitStats(lanes, logits, targets, tsallisOrder, numbers, places);
  }

  topK(logits: Tensor, k: number, values: Tensor, places: Tensor): void {
    checkTopK(logits, k, values, places);
    topK(this.parts().kernels, logits, k, values, places);
  }

  async flush(): Promise<void> {}

  onLost(callback: (error: EspalierError) => void): void {
    this.parts().lanes.onLost((cause) => {
      const hint = 'Close the device and open another; if this repeats, the machine may be out of memory.';
      const error = new EspalierError('E_DEVICE_LOST', 'A lane of the device is gone.', hint, { cause });
      queueMicrotask(() => callback(error)); // whoever is told is not in the middle of an operation
    });
  }
}
