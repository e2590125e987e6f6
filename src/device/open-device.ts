import { EspalierError } from '../errors.ts';
import { complete } from '../options/check.ts';
import { defined } from '../options/defined.ts';
import { type Rule, words } from '../options/rules.ts';
import type { Device } from './device.ts';
import type { ExactDevice } from './exact-device.ts';
import type { TrainDevice } from './train-device.ts';
import { hasRelaxedSimd } from './wasm/load-kernels.ts';
import { tuningOptions, type WasmDeviceOptions } from './wasm/options.ts';
import { WasmDevice } from './wasm/wasm-device.ts';
import { WasmTrainDevice } from './wasm/wasm-train-device.ts';
import type { WebGpuDeviceOptions } from './webgpu/options.ts';

/** What computes: `auto` chooses, a `GPUDevice` is one that the caller has made. */
export type DeviceKind = 'auto' | 'wasm' | 'webgpu' | GpuDevice;

/** A `GPUDevice`, told by what it has, since not every host has its type. */
export interface GpuDevice {
  readonly queue: object;
  createBuffer(descriptor: never): object;
}

/**
 * A device; whoever opens it closes it. `auto` is wasm, as long as nobody has measured that a GPU pays.
 * @throws E_DEVICE_UNSUPPORTED where there is no GPU; E_ARGUMENT for what is no device; and as `WasmDevice.create`
 */
export async function openDevice(kind: DeviceKind = 'auto', options: WasmDeviceOptions = {}): Promise<Device> {
  if (kind === 'auto' || kind === 'wasm') return WasmDevice.create(options);
  if (kind === 'webgpu' || isGpu(kind)) {
    // only now: a page that computes on the CPU loads none of it
    const { WebGpuDevice } = await import('./webgpu/webgpu-device.ts');
    return WebGpuDevice.create(gpuOptions(kind, options));
  }
  throw new EspalierError(
    'E_ARGUMENT',
    `There is no device ${String(kind satisfies never)}.`,
    'Use "auto", "wasm", "webgpu" or a GPUDevice.',
  );
}

/** One that trains, on a GPU. @throws as `openDevice` */
export async function openGpuTrainDevice(
  kind: 'webgpu' | GpuDevice,
  options: WasmDeviceOptions = {},
): Promise<TrainDevice> {
  const { WebGpuTrainDevice } = await import('./webgpu/webgpu-train-device.ts');
  return WebGpuTrainDevice.create(gpuOptions(kind, options));
}

function gpuOptions(kind: 'webgpu' | GpuDevice, { debug, memoryLimit }: WasmDeviceOptions): WebGpuDeviceOptions {
  return defined({ gpu: kind === 'webgpu' ? undefined : kind, debug, memoryLimit });
}

/** One that gives the same bits everywhere: plain SIMD, whose arithmetic WebAssembly defines exactly. @throws as `openDevice` */
export function openExactDevice(options: Omit<WasmDeviceOptions, 'relaxed'> = {}): Promise<ExactDevice> {
  return WasmDevice.create({ ...options, relaxed: false });
}

/** What decides how sums are rounded on a device: the kernels that were found to be the fastest. Plain data. */
export interface Arithmetic {
  readonly simd: string;
  readonly micro: number;
  readonly dot: number;
}

/** One that was kept. */
export const arithmetic: Rule<Arithmetic> = complete<Arithmetic>({ simd: words, ...tuningOptions }, 'arithmetic');

export function arithmeticOf({ description, tuning }: WasmDevice): Arithmetic {
  return { simd: description['simd']!, micro: tuning.micro, dot: tuning.dot };
}

/**
 * One that trains, too.
 * @param like computes with the same kernels as an earlier one, and so the same bits, where this host has them
 * @throws as `openDevice`
 */
export function openTrainDevice(options: WasmDeviceOptions = {}, like?: Arithmetic): Promise<WasmTrainDevice> {
  const isSame = like?.simd === ((options.relaxed ?? hasRelaxedSimd()) ? 'relaxed' : 'plain');
  return WasmTrainDevice.create(
    like && isSame ? { ...options, tuning: { micro: like.micro, dot: like.dot } } : options,
  );
}

function isGpu(kind: unknown): kind is GpuDevice {
  return typeof kind === 'object' && kind !== null && 'createBuffer' in kind && 'queue' in kind;
}
