import { checkAdd, checkInPlace } from '../checks/layers.ts';
import type { Tensor } from '../device.ts';
import { axpy, fill } from './elements.ts';
import type { WasmDeviceOptions } from './options.ts';
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
}
