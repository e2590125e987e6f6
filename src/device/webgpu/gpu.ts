/** What `load.ts` loads. */
export { adapterFacts, allAdapters, findAdapter } from './adapter.ts';
export { choose } from './choice.ts';
export { WebGpuDevice } from './webgpu-device.ts';
export { WebGpuDigitDevice } from './webgpu-digit-device.ts';
export { WebGpuTrainDevice } from './webgpu-train-device.ts';
