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
import { elements, heightOf, widthOf } from '../checks/tensor.ts';
import type { GatedActivation, RopeLayout, RouteRule, Tensor } from '../device.ts';
import type { AdamArguments, AttentionBackwardArguments, TrainDevice } from '../train-device.ts';
import { attentionBackward } from './attention.ts';
import { axpy, columnSum, fill, sumSquares } from './elements.ts';
import { gatedActivationBackward, rmsNormBackward, ropeBackward, scaleRowsBackward } from './layers.ts';
import { crossEntropyBackward, divergenceBackward, entropyBackward, hingeBackward, hingeLoss } from './logits.ts';
import { adamStep, pack } from './optimiser.ts';
import type { WasmDeviceOptions } from './options.ts';
import { linearBackward, linearGroupedBackward, linearGroupedWeights } from './products-backward.ts';
import { checkNumbers, checkOffsets, checkOrder } from './promises.ts';
import {
  combineBackward,
  gatherRowsBackward,
  routeBackward,
  routerLosses,
  routerLossesBackward,
  sigmoidScaleBackward,
} from './routing.ts';
import { embedBackward } from './rows.ts';
import { WasmDevice } from './wasm-device.ts';

/**
 * The CPU device with the way back through each operation and the optimiser. A class apart, so that pages which only infer load none of it;
 * what computes stands beside the operation that it differentiates, as functions, for the same reason.
 */
export class WasmTrainDevice extends WasmDevice implements TrainDevice {
  /** @throws as `WasmDevice.create` */
  static override async create(given: WasmDeviceOptions = {}): Promise<WasmTrainDevice> {
    return WasmDevice.start(given, (...start) => new WasmTrainDevice(...start));
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
    const parts = this.parts();
    if (this.debug) checkOffsets(parts.memory, 'linearGroupedBackward', offsets, heightOf(dY));
    linearGroupedBackward(parts, dY, offsets, weights, dX, accumulate);
  }

  linearGroupedWeights(dY: Tensor, offsets: Tensor, x: Tensor, dW: Tensor): void {
    checkLinearGroupedWeights(dY, offsets, x, dW);
    const parts = this.parts();
    if (this.debug) checkOffsets(parts.memory, 'linearGroupedWeights', offsets, heightOf(dY));
    linearGroupedWeights(parts, dY, offsets, x, dW);
  }

  embedBackward(ids: Tensor, dY: Tensor, dW: Tensor): void {
    checkEmbedBackward(ids, dY, dW);
    const parts = this.parts();
    if (this.debug) checkNumbers(parts.memory, 'embedBackward', ids, 0, heightOf(dW));
    embedBackward(parts.lanes, ids, dY, dW);
  }

  // ---- layers

  rmsNormBackward(x: Tensor, weight: Tensor, dY: Tensor, eps: number, dX: Tensor, dWeight: Tensor | null): void {
    checkRmsNormBackward(x, weight, dY, dX, dWeight);
    const { lanes, arena } = this.parts();
    rmsNormBackward(lanes, arena, x, weight, dY, eps, dX, dWeight);
  }

  ropeBackward(dX: Tensor, table: Tensor, positions: Tensor | number, layout: RopeLayout): void {
    checkRope(dX, table, positions, layout, 'ropeBackward');
    const { memory, lanes } = this.parts();
    if (this.debug && typeof positions !== 'number') {
      checkNumbers(memory, 'ropeBackward', positions, 0, elements(table.shape) / layout.rotaryDims);
    }
    ropeBackward(lanes, dX, table, positions, layout);
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
    gatedActivationBackward(this.parts().lanes, kind, gate, up, dY, dGate, dUp);
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
    scaleRowsBackward(this.parts().lanes, x, coefficients, column, dY, dX, dCoefficients);
  }

  // ---- experts

  routeBackward(logits: Tensor, rule: RouteRule, places: Tensor, dWeights: Tensor, dLogits: Tensor): void {
    checkRouteBackward(logits, rule, places, dWeights, dLogits);
    const { memory, lanes } = this.parts();
    if (this.debug) checkNumbers(memory, 'routeBackward', places, 0, widthOf(logits));
    routeBackward(lanes, logits, rule, places, dWeights, dLogits);
  }

  routerLosses(logits: Tensor, offsets: Tensor, losses: Tensor): void {
    checkRouterLosses(logits, offsets, losses);
    const { kernels, arena } = this.parts();
    routerLosses(kernels, arena, logits, offsets, losses);
  }

  routerLossesBackward(logits: Tensor, offsets: Tensor, balance: number, z: number, dLogits: Tensor): void {
    checkRouterLossesBackward(logits, offsets, dLogits);
    const { kernels, arena, lanes } = this.parts();
    routerLossesBackward(kernels, arena, lanes, logits, offsets, balance, z, dLogits);
  }

  combineBackward(dOut: Tensor, y: Tensor, order: Tensor, weights: Tensor, dY: Tensor, dWeights: Tensor): void {
    checkCombineBackward(dOut, y, order, weights, dY, dWeights);
    const { memory, kernels, arena, lanes } = this.parts();
    if (this.debug) checkOrder(memory, 'combineBackward', order);
    combineBackward(kernels, arena, lanes, dOut, y, order, weights, dY, dWeights);
  }

  gatherRowsBackward(dY: Tensor, order: Tensor, dX: Tensor): void {
    checkGatherRowsBackward(dY, order, dX);
    const { memory, kernels, arena, lanes } = this.parts();
    if (this.debug) checkOrder(memory, 'gatherRowsBackward', order);
    gatherRowsBackward(kernels, arena, lanes, dY, order, dX);
  }

  sigmoidScaleBackward(gate: Tensor, x: Tensor, dOut: Tensor, dX: Tensor, dGate: Tensor): void {
    checkSigmoidScaleBackward(gate, x, dOut, dX, dGate);
    sigmoidScaleBackward(this.parts().lanes, gate, x, dOut, dX, dGate);
  }

  // ---- losses

  crossEntropyBackward(logits: Tensor, numbers: Tensor, targets: Tensor, weights: Tensor, dLogits: Tensor): void {
    checkCrossEntropyBackward(logits, numbers, targets, weights, dLogits);
    const { memory, lanes } = this.parts();
    if (this.debug) checkNumbers(memory, 'crossEntropyBackward', targets, -(2 ** 31), widthOf(logits));
    crossEntropyBackward(lanes, logits, numbers, targets, weights, dLogits);
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
    const { lanes } = this.parts();
    divergenceBackward(lanes, reference, referenceNumbers, logits, numbers, weights, dLogits, losses);
  }

  hingeLoss(numbers: Tensor, places: Tensor, targets: Tensor, losses: Tensor): void {
    checkHingeLoss(numbers, places, targets, losses);
    hingeLoss(this.parts().lanes, numbers, places, targets, losses);
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
    const { memory, lanes } = this.parts();
    if (this.debug) {
      checkNumbers(memory, 'hingeBackward', targets, -(2 ** 31), widthOf(logits));
      checkNumbers(memory, 'hingeBackward', places, -1, widthOf(logits)); // -1: a vocabulary of one has no second
    }
    hingeBackward(lanes, logits, numbers, places, targets, weights, dLogits);
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
    entropyBackward(this.parts().lanes, logits, numbers, tsallisOrder, reference, weights, dLogits);
  }
}
