/** Rules that options of every device share. */
import { EspalierError } from '../errors.ts';
import { defaulting, either, like, oneOf, type Rule, whole } from '../options/rules.ts';
import { MOST_LANES } from '../runtime/host/lane-count.ts';
import type { Precision } from './device.ts';

const MiB = 2 ** 20;

/** What computes, by its name: `auto` chooses by the size of the model (auto.ts). */
export type DeviceName = 'auto' | 'wasm' | 'webgpu';

/** A `GPUDevice`, told by what it has, since not every host has its type. */
export interface GpuDevice {
  readonly queue: object;
  readonly limits: object;
  createBuffer(descriptor: never): object;
}

/** What computes: a device by its name, or a `GPUDevice` that the caller has made. */
export type DeviceKind = DeviceName | GpuDevice;

export function isGpu(value: unknown): value is GpuDevice {
  return (
    typeof value === 'object' &&
    value !== null &&
    ['createBuffer', 'createComputePipelineAsync', 'queue', 'limits', 'lost'].every((name) => name in value)
  );
}

const names = oneOf('auto', 'wasm', 'webgpu');

/** Of what computes in the caller's thread. */
export const deviceKind: Rule<DeviceKind> & { readonly default: 'auto' } = defaulting(
  either(names, like<GpuDevice>('a GPUDevice', isGpu)),
  'auto',
);

/**
 * Of what computes in a worker, to which no `GPUDevice` can be sent.
 * @param here what computes in the caller's thread, for the message
 */
export function deviceName(here: string): Rule<DeviceName> & { readonly default: 'auto' } {
  const check = (value: unknown, name: string): DeviceName => {
    if (!isGpu(value)) return names.check(value, name);
    throw new EspalierError(
      'E_ARGUMENT',
      `${name} is a GPUDevice, and none can be sent to a worker.`,
      `Give "webgpu", or use ${here}, which computes in your own thread.`,
    );
  };
  return { ...defaulting(names, 'auto'), check };
}

export const lanes: Rule<number | 'auto'> = either(whole(1, MOST_LANES), oneOf('auto'));

/** The end of a 32-bit address space: a wasm device has no more. */
export const MEMORY_LIMIT = 2 ** 32;

/** Of a wasm device. */
export const memoryLimit: Rule<number> = whole(
  MiB,
  MEMORY_LIMIT,
  'an integer of bytes from 1,048,576 (1 MiB) to 4,294,967,296 (4 GiB)',
);

/** Of any: a GPU may have more. */
export const anyMemoryLimit: Rule<number> = whole(
  MiB,
  undefined,
  'an integer of bytes from 1,048,576 (1 MiB) on; on the wasm device at most 4,294,967,296 (4 GiB)',
);

/**
 * Most bytes on a device; null: whatever a GPU has, which nobody is told.
 * @throws E_ARGUMENT for more than a wasm device can have
 */
export function limitOn(kind: 'wasm' | 'webgpu', given: number | undefined): number | null {
  if (kind === 'webgpu') return given ?? null;
  return given === undefined ? MEMORY_LIMIT : memoryLimit.check(given, 'memoryLimit');
}

export const precision: Rule<Precision> & { readonly default: 'int8' } = defaulting(
  oneOf('int8', 'int16', 'exact'),
  'int8',
);
