import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Device, Tensor } from '../../src/device/device.ts';
import type { ExactDevice } from '../../src/device/exact-device.ts';
import type { TrainDevice } from '../../src/device/train-device.ts';
import { DOT, MICRO } from '../../src/device/wasm/kernels.ts';
import { hasRelaxedSimd } from '../../src/device/wasm/load-kernels.ts';
import type { WasmDeviceOptions } from '../../src/device/wasm/options.ts';
import { WasmDevice } from '../../src/device/wasm/wasm-device.ts';
import { WasmTrainDevice } from '../../src/device/wasm/wasm-train-device.ts';
import { WebGpuDevice } from '../../src/device/webgpu/webgpu-device.ts';
import { WebGpuTrainDevice } from '../../src/device/webgpu/webgpu-train-device.ts';

/** Whether this host shares memory between threads: a page does only where it is cross-origin isolated. */
const sharing = typeof SharedArrayBuffer === 'function';
/** The main thread of a page may not wait for lanes; workers and other hosts may. */
const waiting = sharing && !('document' in globalThis);

/**
 * Which device a run is about, `--device` of the runner: the environment of a process says it, the address of a page. The GPU is looked at apart from
 * the others, since a program that plays it on the CPU is slow.
 */
const host = globalThis as { process?: { env: Record<string, string | undefined> }; location?: { hash: string } };
export const onGpu = (host.process?.env['ESPALIER_DEVICE'] ?? host.location?.hash.slice(1)) === 'webgpu';

/** Every way of computing that this host has: each operation test runs on all of them. */
export function devices(): Promise<{ name: string; device: Device }[]> {
  return onGpu ? gpuDevices() : exactDevices();
}

async function gpuDevices(): Promise<{ name: string; device: TrainDevice }[]> {
  return [{ name: 'webgpu', device: await WebGpuTrainDevice.create({ debug: true }) }];
}

/** One device of the kind that the run is about. */
export function create(options: { memoryLimit?: number; debug?: boolean } = {}): Promise<Device> {
  return onGpu ? WebGpuDevice.create(options) : WasmDevice.create(options);
}

/** Those that give the same bits everywhere. */
export function exactDevices(): Promise<{ name: string; device: ExactDevice }[]> {
  return waysOf(WasmDevice.create);
}

/** Those that train, too. */
export function trainDevices(): Promise<{ name: string; device: TrainDevice }[]> {
  return onGpu ? gpuDevices() : waysOf(WasmTrainDevice.create);
}

async function waysOf<D extends Device>(
  create: (options: WasmDeviceOptions) => Promise<D>,
): Promise<{ name: string; device: D }[]> {
  const list: { name: string; device: D }[] = [];
  const add = async (name: string, relaxed: boolean, micro: number, dot: number, shared = false, lanes = 1) => {
    if (shared && !sharing) return;
    if (lanes > 1 && !waiting) return;
    list.push({ name, device: await create({ relaxed, shared, lanes, tuning: { micro, dot } }) });
  };
  await add('plain, 5x8 splat', false, MICRO.splat5, DOT.wide);
  await add('plain, 6x8 splat', false, MICRO.splat6, DOT.wide);
  await add('plain, 4x8 lane, shared memory', false, MICRO.lane4, DOT.wide, true);
  await add('plain, 5x8 splat, 2 lanes', false, MICRO.splat5, DOT.wide, true, 2);
  if (hasRelaxedSimd()) {
    await add('relaxed, 6x8 splat fused, 16-bit dot', true, MICRO.splat6Fused, DOT.relaxed16);
    await add('relaxed, 4x8 lane fused, 32-bit dot', true, MICRO.lane4Fused, DOT.relaxed32);
    await add('relaxed, 6x8 splat fused, wide dot, shared memory', true, MICRO.splat6Fused, DOT.wide, true);
    await add('relaxed, 6x8 splat fused, 16-bit dot, 3 lanes', true, MICRO.splat6Fused, DOT.relaxed16, true, 3);
    await add('relaxed, 4x8 lane fused, 32-bit dot, 2 lanes', true, MICRO.lane4Fused, DOT.relaxed32, true, 2);
  }
  return list;
}

/** Tests of one device, each of which leaves no tensor on it. */
export const testsOn =
  (name: string, device: Device) =>
  (title: string, run: () => Promise<void>): void =>
    test(`${title} [${name}]`, async () => {
      const before = device.stats().tensors;
      await run();
      assert.is(device.stats().tensors, before, 'tensors left');
    });

/** The last test of a file: nothing is left on its devices. It closes them. */
export function testNothingLeft(all: readonly { readonly name: string; readonly device: Device }[], worst?: Worst) {
  test('nothing is left on any device', () => {
    for (const { name, device } of all) {
      assert.is(device.stats().tensors, 0, name);
      device.close();
    }
    worst?.print();
  });
}

/** The worst figure by name, printed at the end of a test file. */
export class Worst {
  readonly #figures = new Map<string, { error: number; bound: number }>();

  /** Notes an error and returns whether it is within its bound. */
  within(name: string, error: number, cpuBound: number): boolean {
    const bound = onGpu ? gpuBound(name, cpuBound) : cpuBound;
    const before = this.#figures.get(name);
    if (!before || error > before.error) this.#figures.set(name, { error, bound });
    return error <= bound;
  }

  print(): void {
    for (const [name, { error, bound }] of this.#figures) {
      console.log(`  worst ${name}: ${error.toExponential(1)} (bound ${bound.toExponential(1)})`);
    }
  }
}

/**
 * What is allowed on a GPU: WGSL lets e^x be wrong by 3 + 2 |x| units in the last place and a division by 2.5, and products are summed in f32
 * one after another where the CPU has eight sums.
 */
function gpuBound(name: string, bound: number): number {
  return (GPU_FACTORS[name] ?? 4) * bound;
}
/** Where four times as much is not enough, by the name of the figure. */
const GPU_FACTORS: Readonly<Record<string, number>> = {};

/** A tensor with these numbers. */
export function put(device: Device, shape: readonly number[], data: ArrayLike<number>): Tensor {
  const t = device.tensor('f32', shape);
  device.write(t, Float32Array.from(data));
  return t;
}

export function putInts(device: Device, shape: readonly number[], data: ArrayLike<number>): Tensor {
  const t = device.tensor('i32', shape);
  device.write(t, Int32Array.from(data));
  return t;
}

/**
 * Operations of a device whose rules `lifecycle.test.ts` looks at: all but those that are tested beside their numbers, and what computes
 * nothing. A new one does not compile until it is tested in one place or named here.
 */
export type Operation = Exclude<keyof ExactDevice, 'kind' | 'description' | 'asynchronous' | Memory | BesideNumbers>;
type Memory =
  | ('tensor' | 'scratch' | 'mark' | 'reset' | 'read' | 'readBytes' | 'writeBytes' | 'stats' | 'liveTensors' | 'close')
  | ('loadMatrix' | 'loadMatrices' | 'matrix' | 'loadVector' | 'flush' | 'onLost');
type BesideNumbers =
  | ('storeRows' | 'placeRows' | 'cacheRows' | 'attendEach' | 'route' | 'dispatch' | 'gatherRows')
  | ('linearGrouped' | 'combine' | 'sigmoidScale' | 'perturb');
