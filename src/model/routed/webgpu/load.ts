/** The way to what chooses experts on a device: with what else only a GPU needs (device/webgpu/load.ts). */
export type OnDevice = typeof import('./on-device.ts');

export function loadOnDevice(): Promise<OnDevice> {
  return import('./on-device.ts');
}
