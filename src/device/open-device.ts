import { EspalierError } from '../errors.ts';
import { complete } from '../options/check.ts';
import { defined } from '../options/defined.ts';
import { isOptions, oneOf, type Rule, text, words } from '../options/rules.ts';
import { autoDevice } from './auto.ts';
import type { Work } from './crossover.ts';
import type { Device } from './device.ts';
import type { DigitDevice } from './digit-device.ts';
import type { ExactDevice } from './exact-device.ts';
import { type DeviceKind, deviceKind, type GpuDevice } from './options.ts';
import type { TrainDevice } from './train-device.ts';
import { hasRelaxedSimd } from './wasm/load-kernels.ts';
import { kernelsLieIn } from './wasm/location.ts';
import { tuningOptions, type WasmDeviceOptions } from './wasm/options.ts';
import { WasmDevice } from './wasm/wasm-device.ts';
import { WasmTrainDevice } from './wasm/wasm-train-device.ts';
import { loadGpu } from './webgpu/load.ts';
import type { WebGpuDeviceOptions } from './webgpu/options.ts';

/** Where something is computed, when it is known where. */
export type ChosenDevice = 'wasm' | 'webgpu' | GpuDevice;

/**
 * Where work is done. `auto` is the wasm device, but for models and GPUs with which a GPU is known to be faster (auto.ts).
 * @throws E_ARGUMENT for what is no device
 */
export async function chosenDevice(kind: DeviceKind = 'auto', work: Work | null = null): Promise<ChosenDevice> {
  const device = deviceKind.check(kind, 'device');
  if (device !== 'auto') return device;
  return work === null ? 'wasm' : autoDevice(work);
}

/**
 * The same of a job that goes on where an earlier run was: on the kind of device that computed what is kept.
 * @param own that kind; null: nothing is kept
 * @throws E_ARGUMENT where another kind is asked for
 */
export async function jobDevice(
  kind: DeviceKind | undefined,
  work: Work | null,
  own: 'wasm' | 'webgpu' | null,
): Promise<ChosenDevice> {
  if (own === null) return chosenDevice(kind, work);
  if (kind === undefined || kind === 'auto') return own;
  const device = await chosenDevice(kind);
  if (nameOf(device) === own) return device;
  throw new EspalierError(
    'E_ARGUMENT',
    `What is kept was computed on ${own}, and device is ${nameOf(device)}: they do not come to the same numbers.`,
    `Go on with device "${own}", or pass \`restart: true\` to begin anew.`,
  );
}

export function nameOf(device: ChosenDevice): 'wasm' | 'webgpu' {
  return device === 'wasm' ? 'wasm' : 'webgpu';
}

/**
 * A device; whoever opens it closes it.
 * @throws E_DEVICE_UNSUPPORTED where there is no GPU; E_ARGUMENT for what is no device; and as `WasmDevice.create`
 */
export async function openDevice(
  kind: DeviceKind = 'auto',
  options: WasmDeviceOptions = {},
  work: Work | null = null,
): Promise<Device> {
  const device = await chosenDevice(kind, work);
  if (device === 'wasm') return WasmDevice.create(options);
  kernelsLieIn(options.wasmLocation);
  const { WebGpuDevice } = await loadGpu();
  return WebGpuDevice.create(gpuOptions(device, options));
}

/** One that gives the same bits everywhere: plain SIMD, whose arithmetic WebAssembly defines exactly. @throws as `openDevice` */
export function openExactDevice(options: Omit<WasmDeviceOptions, 'relaxed'> = {}): Promise<ExactDevice> {
  return WasmDevice.create({ ...options, relaxed: false });
}

/** One whose Gram matrices have more digits than its sums: a GPU. @throws as `openDevice` */
export async function openDigitDevice(
  kind: 'webgpu' | GpuDevice = 'webgpu',
  options: WasmDeviceOptions = {},
): Promise<DigitDevice> {
  const { WebGpuDigitDevice } = await loadGpu();
  return WebGpuDigitDevice.create(gpuOptions(kind, options));
}

/**
 * What decides how sums are rounded on a device: on the CPU the kernels, on a GPU the adapter. Plain data,
 * which states of jobs keep.
 */
export type Arithmetic = WasmArithmetic | GpuArithmetic;

export interface WasmArithmetic {
  readonly simd: string;
  readonly micro: number;
  readonly dot: number;
}

export interface GpuArithmetic {
  readonly device: 'webgpu';
  readonly adapter: string;
}

const ofWasm = complete<WasmArithmetic>({ simd: words, ...tuningOptions }, 'arithmetic');
const ofGpu = complete<GpuArithmetic>({ device: oneOf('webgpu'), adapter: text() }, 'arithmetic');

/** One that was kept. */
export const arithmetic: Rule<Arithmetic> = {
  takes: ofWasm.takes,
  check: (value, name) => (isOptions(value) && 'device' in value ? ofGpu : ofWasm).check(value, name),
};

export function arithmeticOf(device: TrainDevice): Arithmetic {
  const { description } = device;
  if (device instanceof WasmDevice) {
    return { simd: description['simd']!, micro: device.tuning.micro, dot: device.tuning.dot };
  }
  return { device: 'webgpu', adapter: description['adapter'] ?? '' };
}

export function kindOf(like: Arithmetic): 'wasm' | 'webgpu' {
  return 'simd' in like ? 'wasm' : like.device;
}

/** Options of either kind; a GPU has no use for most. */
export interface TrainDeviceOptions extends WasmDeviceOptions {
  /** Default `wasm`. */
  readonly device?: ChosenDevice;
}

/**
 * One that trains, too.
 * @param like computes with the same kernels as an earlier one, and so the same bits, where this host has them
 * @throws as `openDevice`
 */
export async function openTrainDevice(
  { device = 'wasm', ...options }: TrainDeviceOptions = {},
  like?: Arithmetic,
): Promise<TrainDevice> {
  if (device !== 'wasm') {
    const { WebGpuTrainDevice } = await loadGpu();
    return WebGpuTrainDevice.create(gpuOptions(device, options));
  }
  const simd = (options.relaxed ?? hasRelaxedSimd()) ? 'relaxed' : 'plain';
  const isSame = like !== undefined && 'simd' in like && like.simd === simd;
  return WasmTrainDevice.create(isSame ? { ...options, tuning: { micro: like.micro, dot: like.dot } } : options);
}

function gpuOptions(device: 'webgpu' | GpuDevice, { debug, memoryLimit }: WasmDeviceOptions): WebGpuDeviceOptions {
  return defined({ gpu: device === 'webgpu' ? undefined : device, debug, memoryLimit });
}
