import { checkAddWhole, checkTakeDigit } from '../checks/digits.ts';
import type { Tensor } from '../device.ts';
import type { AddWholeOptions, DigitArguments, DigitDevice } from '../digit-device.ts';
import { addWhole, takeDigit } from './digits.ts';
import type { WebGpuDeviceOptions } from './options.ts';
import { WebGpuDevice } from './webgpu-device.ts';

/** The GPU device with digits: apart, since growing alone asks for them. */
export class WebGpuDigitDevice extends WebGpuDevice implements DigitDevice {
  /** @throws as `WebGpuDevice.create` */
  static override async create(given: WebGpuDeviceOptions = {}): Promise<WebGpuDigitDevice> {
    return WebGpuDevice.start(given, (...start) => new WebGpuDigitDevice(...start));
  }

  takeDigit(args: DigitArguments): void {
    checkTakeDigit(args);
    takeDigit(this.parts(), args);
  }

  addWhole(x: Tensor, sums: Tensor, options: AddWholeOptions): void {
    checkAddWhole(x, sums, options);
    addWhole(this.parts(), x, sums, options);
  }
}
