import { checkAdd, checkColumnSum, checkInPlace } from '../checks/layers.ts';
import { checkAdamStep, checkPack, checkSumSquares } from '../checks/optimiser.ts';
import { checkLinearBackward, checkLinearGroupedBackward, checkLinearGroupedWeights } from '../checks/products.ts';
import { checkEmbedBackward } from '../checks/rows.ts';
import { heightOf } from '../checks/tensor.ts';
import type { Tensor } from '../device.ts';
import type { AdamArguments } from '../train-device.ts';
import { axpy, columnSum, fill, sumSquares } from './elements.ts';
import { adamStep, pack } from './optimiser.ts';
import type { WasmDeviceOptions } from './options.ts';
import { linearBackward, linearGroupedBackward, linearGroupedWeights } from './products-backward.ts';
import { checkNumbers, checkOffsets } from './promises.ts';
import { embedBackward } from './rows.ts';
import { WasmDevice } from './wasm-device.ts';

/**
 * The CPU device with the way back through each operation and the optimiser. A class apart, so that pages which only infer load none of it;
 * what computes stands beside the operation that it differentiates, as functions, for the same reason.
 */
export class WasmTrainDevice extends WasmDevice {
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
}
