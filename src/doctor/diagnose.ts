import type { Device } from '../device/device.ts';
import { openDevice } from '../device/open-device.ts';
import { hasRelaxedSimd } from '../device/wasm/load-kernels.ts';
import type { WasmDeviceOptions } from '../device/wasm/options.ts';
import { outlook } from '../device/webgpu/choice.ts';
import { loadGpu } from '../device/webgpu/load.ts';
import type { AdapterDiagnosis, Diagnosis, Rates } from './diagnosis.ts';

/** Rows and columns of products: 134 million multiplications take 2 ms on a lane, and a program that plays a GPU a second. */
const SIDE = 512;
/** Of a matrix of weights that is read whole: 64 MiB, more than caches hold. */
const WEIGHTS = 4096;
/** Milliseconds that a rate is measured for, and the fewest times. */
const LONG = 200;
const TIMES = 3;

/**
 * Looks at the device of the CPU and at GPUs, and measures both.
 * @param lanes and the rest: of the wasm device
 * @throws E_DEVICE_UNSUPPORTED without WebAssembly SIMD; what `openDevice` throws
 */
export async function diagnose(options: WasmDeviceOptions): Promise<Omit<Diagnosis, 'host'>> {
  const rates = await wasmRates(options);
  const { allAdapters } = await loadGpu();
  const adapters = await allAdapters();
  const [first = null] = adapters;
  return {
    simd: hasRelaxedSimd() ? 'relaxed' : 'plain',
    lanes: options.lanes ?? 1,
    adapters,
    rates: { ...rates, ...(await gpuRate(first)) },
    auto: { answering: outlook('answering', first), training: outlook('training', first) },
  };
}

async function wasmRates(options: WasmDeviceOptions): Promise<Pick<Rates, 'wasmProduct' | 'wasmRead'>> {
  const device = await openDevice('wasm', options);
  try {
    const wasmProduct = await productRate(device);
    const row = new Uint8Array(new Float32Array(WEIGHTS).fill(1 / 64).buffer);
    const weights = await device.loadMatrix({
      ...{ name: 'weights', type: 'f32', rows: WEIGHTS, columns: WEIGHTS, order: null, orderGroup: WEIGHTS },
      read: async (_, target) => {
        for (let at = 0; at < target.length; at += row.length) target.set(row.subarray(0, target.length - at), at);
      },
    });
    const [x, y] = [device.tensor('f32', [1, WEIGHTS]), device.tensor('f32', [1, WEIGHTS])];
    const seconds = await best(device, () => device.linear(x, [weights], [y], 'exact'));
    return { wasmProduct, wasmRead: (4 * WEIGHTS * WEIGHTS) / seconds / 1e9 };
  } finally {
    device.close();
  }
}

async function gpuRate(first: AdapterDiagnosis | null): Promise<Pick<Rates, 'gpuProduct' | 'gpuFault'>> {
  if (first === null) return { gpuProduct: null, gpuFault: null };
  let device: Device | null = null;
  try {
    device = await openDevice('webgpu');
    return { gpuProduct: await productRate(device), gpuFault: null };
  } catch (error) {
    // whatever it is: that is what a doctor is asked for
    return { gpuProduct: null, gpuFault: error instanceof Error ? error.message : String(error) };
  } finally {
    device?.close();
  }
}

async function productRate(device: Device): Promise<number> {
  const [a, b, c] = [0, 1, 2].map(() => device.tensor('f32', [SIDE, SIDE]));
  device.write(a!, new Float32Array(SIDE * SIDE).fill(1 / 16));
  device.write(b!, new Float32Array(SIDE * SIDE).fill(1 / 16));
  const seconds = await best(device, () => device.matmul(a!, b!, c!));
  return (2 * SIDE ** 3) / seconds / 1e9;
}

/** Seconds of the fastest, the first left out, which compiles. */
async function best(device: Device, run: () => void): Promise<number> {
  run();
  await device.flush();
  let least = Number.POSITIVE_INFINITY;
  const end = performance.now() + LONG;
  for (let i = 0; i < TIMES || performance.now() < end; i++) {
    const start = performance.now();
    run();
    await device.flush();
    least = Math.min(least, performance.now() - start);
  }
  // clocks of pages are coarse
  return Math.max(least, 1e-2) / 1000;
}
