/** What each kernel of some work on a GPU takes by itself: its dispatches are written down while the work is done, and repeated many times afterwards. */
import type { Kernel } from '../src/device/webgpu/kernel.ts';
import type { WebGpuDeviceOptions } from '../src/device/webgpu/options.ts';
import type { GpuParts } from '../src/device/webgpu/tensor-store.ts';
import { WebGpuDevice } from '../src/device/webgpu/webgpu-device.ts';

export class KernelBench extends WebGpuDevice {
  static override async create(given: WebGpuDeviceOptions = {}): Promise<KernelBench> {
    return WebGpuDevice.start(given, (...start) => new KernelBench(...start));
  }

  get inner(): GpuParts {
    return this.parts();
  }
}

export interface KernelTime {
  /** Dispatches of the work. */
  readonly dispatches: number;
  /** Of a dispatch behind others of its kind, best of some rounds: until the GPU is done, and as long as it is recorded. */
  readonly microseconds: number;
  readonly recording: number;
}

/** Dispatches of a round, at least. */
const TIMES = 256;
const ROUNDS = 5;

/**
 * @param work is done once as it is; what its kernels write when they are repeated is of no use to anybody
 * @returns by the name of the kernel
 */
export async function kernelTimes(
  device: KernelBench,
  work: () => Promise<unknown>,
): Promise<Readonly<Record<string, KernelTime>>> {
  const { commands } = device.inner;
  type Given = Parameters<typeof commands.run>;
  const seen = new Map<Kernel, Given[]>();
  const run = commands.run.bind(commands);
  commands.run = (kernel, bound, numbers, groups) => {
    const all = seen.get(kernel) ?? [];
    seen.set(kernel, all);
    all.push([kernel, bound, [...numbers], groups]);
    run(kernel, bound, numbers, groups);
  };
  try {
    await work();
  } finally {
    commands.run = run;
  }
  await device.flush();
  const times: Record<string, KernelTime> = {};
  for (const [{ name }, all] of seen) {
    let [least, recording] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
    const rounds = Math.ceil(TIMES / all.length);
    for (let round = 0; round < ROUNDS; round++) {
      const start = performance.now();
      for (let i = 0; i < rounds; i++) for (const given of all) run(...given);
      const recorded = performance.now();
      await device.flush();
      const each = 1000 / (rounds * all.length);
      least = Math.min(least, each * (performance.now() - start));
      recording = Math.min(recording, each * (recorded - start));
    }
    times[name] = { dispatches: all.length, microseconds: least, recording };
  }
  return times;
}
