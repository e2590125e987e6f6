import { defaulting, like, type Schema, truth, whole } from '../../options/rules.ts';

export interface WebGpuDeviceOptions {
  /** A GPUDevice that the caller has made, with the limits and features that he asked for, and destroys; default: one of our own. */
  readonly gpu?: object;
  /** Most bytes of buffers. Default: none, what the GPU has. */
  readonly memoryLimit?: number;
  /** Most bytes of a binding, in whole 4 KiB; default: what the GPU has. Less, for tests of what goes beyond it. */
  readonly bindingLimit?: number;
  /** Records where each tensor is made, for `liveTensors`. */
  readonly debug?: boolean;
}

export const webGpuDeviceOptions = {
  gpu: like<object>('a GPUDevice', (value) => typeof value === 'object' && value !== null && 'createBuffer' in value),
  memoryLimit: whole(2 ** 20, Number.MAX_SAFE_INTEGER),
  bindingLimit: whole(2 ** 12, Number.MAX_SAFE_INTEGER),
  debug: defaulting(truth, false),
} as const satisfies Schema<WebGpuDeviceOptions>;
