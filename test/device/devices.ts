import type { Device } from '../../src/device/device.ts';
import { DOT, hasRelaxedSimd, MICRO } from '../../src/device/wasm/kernels.ts';
import { WasmDevice } from '../../src/device/wasm/wasm-device.ts';

/** Every way of computing that this host has: each operation test runs on all of them. */
export async function devices(): Promise<{ name: string; device: Device }[]> {
  const list: { name: string; device: Device }[] = [];
  const add = async (name: string, relaxed: boolean, micro: number, dot: number, shared = false) => {
    list.push({ name, device: await WasmDevice.create({ relaxed, shared, tuning: { micro, dot } }) });
  };
  await add('plain, 5x8 splat', false, MICRO.splat5, DOT.wide);
  await add('plain, 6x8 splat', false, MICRO.splat6, DOT.wide);
  await add('plain, 4x8 lane, shared memory', false, MICRO.lane4, DOT.wide, true);
  if (hasRelaxedSimd()) {
    await add('relaxed, 6x8 splat fused, 16-bit dot', true, MICRO.splat6Fused, DOT.relaxed16);
    await add('relaxed, 4x8 lane fused, 32-bit dot', true, MICRO.lane4Fused, DOT.relaxed32);
    await add('relaxed, 6x8 splat fused, wide dot, shared memory', true, MICRO.splat6Fused, DOT.wide, true);
  }
  return list;
}

/** The worst figure by name, printed at the end of a test file. */
export class Worst {
  readonly #figures = new Map<string, { error: number; bound: number }>();

  /** Notes an error and returns whether it is within its bound. */
  within(name: string, error: number, bound: number): boolean {
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
