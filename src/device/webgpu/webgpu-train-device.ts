import { checkAttentionBackward } from '../checks/attention.ts';
import {
  checkAdd,
  checkColumnSum,
  checkGatedActivationBackward,
  checkInPlace,
  checkRmsNormBackward,
  checkRope,
  checkScaleRowsBackward,
} from '../checks/layers.ts';
import {
  checkCrossEntropyBackward,
  checkDivergenceBackward,
  checkEntropyBackward,
  checkHingeBackward,
  checkHingeLoss,
} from '../checks/logits.ts';
import { checkAdamStep, checkPack, checkSumSquares } from '../checks/optimiser.ts';
import { checkLinearBackward, checkLinearGroupedBackward, checkLinearGroupedWeights } from '../checks/products.ts';
import {
  checkCombineBackward,
  checkGatherRowsBackward,
  checkRouteBackward,
  checkRouterLosses,
  checkRouterLossesBackward,
  checkSigmoidScaleBackward,
} from '../checks/routing.ts';
import { checkEmbedBackward } from '../checks/rows.ts';
import type { GatedActivation, RopeLayout, RouteRule, Tensor } from '../device.ts';
import type { AdamArguments, AttentionBackwardArguments, TrainDevice } from '../train-device.ts';
import { gatedActivationBackward } from './activation.ts';
import { attentionBackward } from './attention-backward.ts';
import { axpy, fill } from './elements.ts';
import { embedBackward } from './embed-backward.ts';
import { crossEntropyBackward, divergenceBackward, entropyBackward, hingeBackward, hingeLoss } from './losses.ts';
import { rmsNormBackward } from './norm.ts';
import { adamStep } from './optimiser.ts';
import type { WebGpuDeviceOptions } from './options.ts';
import { pack } from './pack.ts';
import { linearBackward, linearGroupedBackward, linearGroupedWeights } from './products-backward.ts';
import { ropeBackward } from './rope.ts';
import {
  combineBackward,
  gatherRowsBackward,
  routeBackward,
  routerLosses,
  routerLossesBackward,
  sigmoidScaleBackward,
} from './routing-backward.ts';
import { scaleRowsBackward } from './row-layers.ts';
import { columnSum, sumSquares } from './sums.ts';
import { WebGpuDevice } from './webgpu-device.ts';

/** The GPU device with the way back through each operation and the optimiser: apart, as `WasmTrainDevice` is. */
export class WebGpuTrainDevice extends WebGpuDevice implements TrainDevice {
  /** @throws as `WebGpuDevice.create` */
  static override async create(given: WebGpuDeviceOptions = {}): Promise<WebGpuTrainDevice> {
    return WebGpuDevice.start(given, (...start) => new WebGpuTrainDevice(...start));
  }

  // ---- elements

  fill(x: Tensor, value: number): void {
    checkInPlace('fill', x);
    fill(this.parts(), x, value);
  }

  axpy(alpha: number, x: Tensor, y: Tensor): void {
    checkAdd(x, y, 'axpy');
    axpy(this.parts(), alpha, x, y);
  }

  columnSum(x: Tensor, out: Tensor): void {
    checkColumnSum(x, out);
    columnSum(this.parts(), x, out);
  }

  sumSquares(x: Tensor, out: Tensor): void {
    checkSumSquares(x, out);
    sumSquares(this.parts(), x, out);
  }

  // ---- optimiser

  adamStep(args: AdamArguments): void {
    checkAdamStep(args);
    adamStep(this.parts(), args);
  }

  pack(from: Tensor, to: Tensor): void {
    checkPack(from, to);
    pack(this.parts(), from, to);
  }

  // ---- products

  linearBackward(dY: Tensor, weight: Tensor, dX: Tensor, accumulate = false): void {
    checkLinearBackward(dY, weight, dX);
    linearBackward(this.parts(), dY, weight, dX, accumulate);
  }

  linearGroupedBackward(dY: Tensor, offsets: Tensor, weights: Tensor, dX: Tensor, accumulate = false): void {
    checkLinearGroupedBackward(dY, offsets, weights, dX);
    linearGroupedBackward(this.parts(), dY, offsets, weights, dX, accumulate);
  }

  linearGroupedWeights(dY: Tensor, offsets: Tensor, x: Tensor, dW: Tensor): void {
    checkLinearGroupedWeights(dY, offsets, x, dW);
    linearGroupedWeights(this.parts(), dY, offsets, x, dW);
  }

  embedBackward(ids: Tensor, dY: Tensor, dW: Tensor): void {
    checkEmbedBackward(ids, dY, dW);
    embedBackward(this.parts(), ids, dY, dW);
  }

  // ---- layers

  rmsNormBackward(x: Tensor, weight: Tensor, dY: Tensor, eps: number, dX: Tensor, dWeight: Tensor | null): void {
    checkRmsNormBackward(x, weight, dY, dX, dWeight);
    rmsNormBackward(this.parts(), x, weight, dY, eps, dX, dWeight);
  }

  ropeBackward(dX: Tensor, table: Tensor, positions: Tensor | number, layout: RopeLayout): void {
    checkRope(dX, table, positions, layout, 'ropeBackward');
    ropeBackward(this.parts(), dX, table, positions, layout);
  }

  gatedActivationBackward(
    kind: GatedActivation,
    gate: Tensor,
    up: Tensor,
    dY: Tensor,
    dGate: Tensor,
    dUp: Tensor,
  ): void {
    checkGatedActivationBackward(gate, up, dY, dGate, dUp);
    gatedActivationBackward(this.parts(), kind, gate, up, dY, dGate, dUp);
  }

  attentionBackward(args: AttentionBackwardArguments): void {
    checkAttentionBackward(args);
    attentionBackward(this.parts(), args);
  }

  scaleRowsBackward(
    x: Tensor,
    coefficients: Tensor,
    column: number,
    dY: Tensor,
    dX: Tensor | null,
    dCoefficients: Tensor | null,
  ): void {
    checkScaleRowsBackward(x, coefficients, column, dY, dX, dCoefficients);
    scaleRowsBackward(this.parts(), x, coefficients, column, dY, dX, dCoefficients);
  }

  // ---- experts

  routeBackward(logits: Tensor, rule: RouteRule, places: Tensor, dWeights: Tensor, dLogits: Tensor): void {
    checkRouteBackward(logits, rule, places, dWeights, dLogits);
    routeBackward(this.parts(), logits, rule, places, dWeights, dLogits);
  }

  routerLosses(logits: Tensor, offsets: Tensor, losses: Tensor): void {
    checkRouterLosses(logits, offsets, losses);
    routerLosses(this.parts(), logits, offsets, losses);
  }

  routerLossesBackward(logits: Tensor, offsets: Tensor, balance: number, z: number, dLogits: Tensor): void {
    checkRouterLossesBackward(logits, offsets, dLogits);
    routerLossesBackward(this.parts(), logits, offsets, balance, z, dLogits);
  }

  combineBackward(dOut: Tensor, y: Tensor, order: Tensor, weights: Tensor, dY: Tensor, dWeights: Tensor): void {
    checkCombineBackward(dOut, y, order, weights, dY, dWeights);
    combineBackward(this.parts(), dOut, y, order, weights, dY, dWeights);
  }

  gatherRowsBackward(dY: Tensor, order: Tensor, dX: Tensor): void {
    checkGatherRowsBackward(dY, order, dX);
    gatherRowsBackward(this.parts(), dY, order, dX);
  }

  sigmoidScaleBackward(gate: Tensor, x: Tensor, dOut: Tensor, dX: Tensor, dGate: Tensor): void {
    checkSigmoidScaleBackward(gate, x, dOut, dX, dGate);
    sigmoidScaleBackward(this.parts(), gate, x, dOut, dX, dGate);
  }

  // ---- losses

  crossEntropyBackward(logits: Tensor, numbers: Tensor, targets: Tensor, weights: Tensor, dLogits: Tensor): void {
    checkCrossEntropyBackward(logits, numbers, targets, weights, dLogits);
    crossEntropyBackward(this.parts(), logits, numbers, targets, weights, dLogits);
  }

  divergenceBackward(
    reference: Tensor,
    referenceNumbers: Tensor,
    logits: Tensor,
    numbers: Tensor,
    weights: Tensor,
    dLogits: Tensor,
    losses: Tensor,
  ): void {
    checkDivergenceBackward(reference, referenceNumbers, logits, numbers, weights, dLogits, losses);
    divergenceBackward(this.parts(), reference, referenceNumbers, logits, numbers, weights, dLogits, losses);
  }

  hingeLoss(numbers: Tensor, places: Tensor, targets: Tensor, losses: Tensor): void {
    checkHingeLoss(numbers, places, targets, losses);
    hingeLoss(this.parts(), numbers, places, targets, losses);
  }

  hingeBackward(
    logits: Tensor,
    numbers: Tensor,
    places: Tensor,
    targets: Tensor,
    weights: Tensor,
    dLogits: Tensor,
  ): void {
    checkHingeBackward(logits, numbers, places, targets, weights, dLogits);
    hingeBackward(this.parts(), logits, numbers, places, targets, weights, dLogits);
  }

  entropyBackward(
    logits: Tensor,
    numbers: Tensor,
    tsallisOrder: number,
    reference: Tensor | null,
    weights: Tensor,
    dLogits: Tensor,
  ): void {
    checkEntropyBackward(logits, numbers, tsallisOrder, reference, weights, dLogits);
    entropyBackward(this.parts(), logits, numbers, tsallisOrder, reference, weights, dLogits);
  }
}
