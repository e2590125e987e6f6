import { checked } from '../../options/check.ts';
import { checkAttention } from '../checks/attention.ts';
import { checkCacheRows } from '../checks/cache-rows.ts';
import {
  checkAttendLinear,
  checkDrawRows,
  checkExpertShares,
  checkFusedLinear,
  checkNormGated,
} from '../checks/fused.ts';
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
import { checkLinear, checkLinearGrouped, checkMatmul } from '../checks/products.ts';
import { checkCombine, checkDispatch, checkGatherRows, checkRoute, checkSigmoidScale } from '../checks/routing.ts';
import { checkCast, checkColumn, checkCopyRows, checkEmbed } from '../checks/rows.ts';
import { checkAttendEach } from '../checks/step.ts';
import { checkPlaceRows, checkStoreRows } from '../checks/stored-rows.ts';
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
import type { DrawArguments, FusedDevice, ShareRule } from '../fused-device.ts';
import { gatedActivation } from './activation.ts';
import { attention } from './attention.ts';
import { cacheRows } from './cache-rows.ts';
import { cast } from './cast.ts';
import { takeColumn } from './column.ts';
import { GpuContext } from './context.ts';
import { drawRows } from './draw-rows.ts';
import { add, addBias, scale } from './elements.ts';
import { embed } from './embed.ts';
import { expertShares } from './expert-shares.ts';
import { addLinear, normGated, normLinear } from './fused.ts';
import { logitStats } from './logits.ts';
import { prove } from './matrix-proof.ts';
import { matrixUnitsOf } from './matrix-units.ts';
import { addRmsNorm, rmsNorm } from './norm.ts';
import { type WebGpuDeviceOptions, webGpuDeviceOptions } from './options.ts';
import { linear, linearGrouped, matmul } from './products.ts';
import { rope } from './rope.ts';
import { combine, dispatch, gatherRows, route, sigmoidScale } from './routing.ts';
import { scaleRows, softmax } from './row-layers.ts';
import { copyRows } from './rows.ts';
import { attendEach, attendLinear } from './step-attention.ts';
import { placeRows, storeRows } from './stored-rows.ts';
import { TensorStore } from './tensor-store.ts';
import { tune } from './tile-tuning.ts';
import { topK } from './top-k.ts';

/** A GPU, by WebGPU. Operations are recorded when they are called and go to the GPU in batches, at the latest with the next `read` or `flush`. */
export class WebGpuDevice extends TensorStore implements FusedDevice {
  readonly kind = 'webgpu' as const;
  readonly asynchronous = true;
  readonly fused = true as const;
  readonly description: Readonly<Record<string, string>>;
  /** Whether a program on the CPU does it all: right, and slow. */
  readonly isFallback: boolean;

  /** @throws E_DEVICE_UNSUPPORTED */
  static async create(given: WebGpuDeviceOptions = {}): Promise<WebGpuDevice> {
    return WebGpuDevice.start(given, (...start) => new WebGpuDevice(...start));
  }

  /** As `create`, of any class of it. */
  protected static async start<D extends WebGpuDevice>(
    given: WebGpuDeviceOptions,
    construct: (context: GpuContext, options: WebGpuDeviceOptions) => D,
  ): Promise<D> {
    const options = checked<WebGpuDeviceOptions>(webGpuDeviceOptions, given, 'WebGpuDevice.create');
    const gpu = (options.gpu as unknown as GPUDevice | undefined) ?? null;
    const context = await GpuContext.open(gpu);
    try {
      await WebGpuDevice.#prove(context, gpu);
      const device = construct(context, options);
      context.tune ??= async () =>
        tune(context, async () => {
          const trial = new WebGpuDevice(await GpuContext.open(gpu), {});
          return { device: trial, parts: trial.parts() };
        });
      return device;
    } catch (error) {
      context.release(null);
      throw error;
    }
  }

  /** Matrix units, once a context, on a device that is there for nothing else. */
  static async #prove(context: GpuContext, gpu: GPUDevice | null): Promise<void> {
    const units = matrixUnitsOf(context);
    if (!units || units.refused !== null) return;
    units.proof ??= (async () => {
      const trial = new WebGpuDevice(await GpuContext.open(gpu), {});
      try {
        await prove(units, trial.parts(), trial);
      } finally {
        trial.close();
      }
    })();
    await units.proof;
  }

  protected constructor(context: GpuContext, options: WebGpuDeviceOptions) {
    super(context, options);
    const { facts, traits } = context;
    const units = matrixUnitsOf(context);
    this.isFallback = facts.fallback;
    this.description = {
      device: 'webgpu',
      adapter: facts.name,
      subgroups: traits.subgroupSize > 0 ? `subgroups of ${traits.subgroupSize}` : 'no subgroups',
      ...(units && { matrixUnits: units.description }),
    };
  }

  // ---- products

  linear(x: Tensor, weights: readonly Tensor[], outs: readonly Tensor[], precision: Precision, alone = false): void {
    checkLinear(x, weights, outs);
    linear(this.parts(), x, weights, outs, precision, alone);
  }

  matmul(a: Tensor, b: Tensor, c: Tensor, options: MatmulOptions = {}): void {
    checkMatmul(a, b, c, options);
    matmul(this.parts(), a, b, c, options);
  }

  embed(ids: Tensor, weight: Tensor, out: Tensor): void {
    checkEmbed(ids, weight, out);
    embed(this.parts(), ids, weight, out);
  }

  normLinear(x: Tensor, norm: Tensor, eps: number, weights: readonly Tensor[], outs: readonly Tensor[]): void {
    checkFusedLinear('normLinear', x, norm, weights, outs);
    normLinear(this.parts(), x, { weight: norm, eps }, weights, outs);
  }

  normGated(kind: GatedActivation, x: Tensor, norm: Tensor, eps: number, gate: Tensor, up: Tensor, out: Tensor): void {
    checkNormGated(x, norm, gate, up, out);
    normGated(this.parts(), kind, x, { weight: norm, eps }, gate, up, out);
  }

  addLinear(x: Tensor, weight: Tensor, residual: Tensor): void {
    checkFusedLinear('addLinear', x, null, [weight], [residual]);
    addLinear(this.parts(), x, weight, residual);
  }

  attendLinear(args: StepArguments, weight: Tensor, residual: Tensor): void {
    checkAttendEach(args);
    checkAttendLinear(args, weight, residual);
    attendLinear(this, this.parts(), args, weight, residual);
  }

  expertShares(logits: Tensor, entropies: Tensor | null, rule: ShareRule, out: Tensor): void {
    checkExpertShares(logits, entropies, rule.cut, out);
    expertShares(this.parts(), logits, entropies, rule, out);
  }

  // ---- layers

  rmsNorm(x: Tensor, weight: Tensor, out: Tensor, eps: number): void {
    checkRmsNorm(x, weight, out);
    rmsNorm(this.parts(), x, weight, out, eps);
  }

  addRmsNorm(x: Tensor, residual: Tensor, weight: Tensor, out: Tensor, eps: number): void {
    checkAddRmsNorm(x, residual, weight, out);
    addRmsNorm(this.parts(), x, residual, weight, out, eps);
  }

  rope(x: Tensor, table: Tensor, positions: Tensor | number, layout: RopeLayout): void {
    checkRope(x, table, positions, layout);
    rope(this.parts(), x, table, positions, layout);
  }

  cacheRows(args: CacheRowsArguments): void {
    checkCacheRows(args);
    cacheRows(this.parts(), args);
  }

  attention(args: AttentionArguments): void {
    checkAttention(args);
    attention(this.parts(), args);
  }

  attendEach(args: StepArguments): void {
    checkAttendEach(args);
    attendEach(this, this.parts(), args);
  }

  storeRows(from: Tensor, to: StoredRows, toRow: number, heads: number): void {
    checkStoreRows(from, to, toRow, heads);
    storeRows(this.parts(), from, to, toRow, heads);
  }

  placeRows(args: PlaceArguments): void {
    checkPlaceRows(args);
    placeRows(this.parts(), args);
  }

  gatedActivation(kind: GatedActivation, gate: Tensor, up: Tensor, out: Tensor): void {
    checkGatedActivation(gate, up, out);
    gatedActivation(this.parts(), kind, gate, up, out);
  }

  add(x: Tensor, y: Tensor): void {
    checkAdd(x, y);
    add(this.parts(), x, y);
  }

  addBias(bias: Tensor, y: Tensor): void {
    checkAddBias(bias, y);
    addBias(this.parts(), bias, y);
  }

  scale(x: Tensor, factor: number): void {
    checkInPlace('scale', x);
    scale(this.parts(), x, factor);
  }

  scaleRows(x: Tensor, coefficients: Tensor, column: number, out: Tensor): void {
    checkScaleRows(x, coefficients, column, out);
    scaleRows(this.parts(), x, coefficients, column, out);
  }

  softmax(x: Tensor): void {
    checkInPlace('softmax', x);
    softmax(this.parts(), x);
  }

  copyRows(from: Tensor, to: Tensor, toRow: number): void {
    checkCopyRows(from, to, toRow);
    copyRows(this.parts(), from, to, toRow);
  }

  column(x: Tensor, column: number, out: Tensor): void {
    checkColumn(x, column, out);
    takeColumn(this.parts(), x, column, out);
  }

  cast(from: Tensor, to: Tensor): void {
    checkCast(from, to);
    cast(this.parts(), from, to);
  }

  // ---- experts

  route(logits: Tensor, bias: Tensor | null, rule: RouteRule, places: Tensor, weights: Tensor): void {
    checkRoute(logits, bias, rule, places, weights);
    route(this.parts(), logits, bias, rule, places, weights);
  }

  dispatch(places: Tensor, order: Tensor, offsets: Tensor): void {
    checkDispatch(places, order, offsets);
    dispatch(this.parts(), places, order, offsets);
  }

  gatherRows(x: Tensor, order: Tensor, out: Tensor): void {
    checkGatherRows(x, order, out);
    gatherRows(this.parts(), x, order, out);
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
    linearGrouped(this.parts(), x, offsets, weights, outs, precision, alone);
  }

  combine(y: Tensor, order: Tensor, weights: Tensor, out: Tensor): void {
    checkCombine(y, order, weights, out);
    combine(this.parts(), y, order, weights, out);
  }

  sigmoidScale(gate: Tensor, x: Tensor): void {
    checkSigmoidScale(gate, x);
    sigmoidScale(this.parts(), gate, x);
  }

  // ---- logits

  logitStats(logits: Tensor, targets: Tensor | null, tsallisOrder: number, numbers: Tensor, places: Tensor): void {
    checkLogitStats(logits, targets, tsallisOrder, numbers, places);
    logitStats(this.parts(), logits, targets, tsallisOrder, numbers, places);
  }

  topK(logits: Tensor, k: number, values: Tensor, places: Tensor): void {
    checkTopK(logits, k, values, places);
    topK(this.parts(), logits, k, values, places);
  }

  drawRows(args: DrawArguments): void {
    checkDrawRows(args);
    drawRows(this.parts(), args);
  }
}
