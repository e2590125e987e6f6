/** What tests of gradients share: finite differences of a device's own way forward, and devices that differ in their lanes alone. */
import * as assert from 'uvu/assert';
import type { Device, Tensor } from '../../src/device/device.ts';
import { DOT, MICRO } from '../../src/device/wasm/kernels.ts';
import { hasRelaxedSimd } from '../../src/device/wasm/load-kernels.ts';
import { WasmTrainDevice } from '../../src/device/wasm/wasm-train-device.ts';
import type { EspalierError } from '../../src/errors.ts';
import { noise } from './reference.ts';

/**
 * How far the slope of `loss` at x along random directions of ±1, by central differences of `step`, is from what the gradient says; the worst
 * of `directions`, relative to the gradient's length, which such slopes have on average. The loss is summed in f64 of f32 numbers: with a step of
 * 1e-2 their rounding is some 1e-5 of it, and so is what the step leaves out.
 */
export async function slopeError(
  loss: (x: Float32Array) => Promise<number>,
  x: Float32Array,
  gradient: ArrayLike<number>,
  step = 1e-2,
  directions = 3,
): Promise<number> {
  let worst = 0;
  const length = Math.hypot(...Array.from(gradient));
  for (let n = 0; n < directions; n++) {
    const next = noise(71 + n);
    const signs = x.map(() => Math.sign(next()));
    const [up, down] = [x.map((v, i) => v + step * signs[i]!), x.map((v, i) => v - step * signs[i]!)];
    const measured = (await loss(up)) - (await loss(down));
    // the points are rounded to f32: what lies between them is as far as it is
    let said = 0;
    for (let i = 0; i < x.length; i++) said += gradient[i]! * (up[i]! - down[i]!);
    worst = Math.max(worst, Math.abs(measured - said) / (2 * step * length));
  }
  return worst;
}

/** Σ a · b in f64. */
export function inner(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

export async function floats(device: Device, t: Tensor): Promise<Float32Array> {
  return (await device.read(t)) as Float32Array;
}

export function disposeAll(...tensors: (Tensor | null)[]): void {
  for (const t of tensors) t?.dispose();
}

/** For `assert.throws`: the operation refuses because what it writes shares memory. */
export function sharing({ code, message }: EspalierError): boolean {
  return code === 'E_SHAPE' && message.includes('shares memory');
}

/** A page's main thread may not wait for lanes. */
const lanesPossible = typeof SharedArrayBuffer === 'function' && !('document' in globalThis);

/**
 * Devices of one, two and three lanes that are alike in everything else, one such family for each build of the kernels.
 */
export async function families(): Promise<WasmTrainDevice[][]> {
  const ways: { relaxed: boolean; tuning: { micro: number; dot: number } }[] = [
    { relaxed: false, tuning: { micro: MICRO.splat5, dot: DOT.wide } },
  ];
  if (hasRelaxedSimd()) ways.push({ relaxed: true, tuning: { micro: MICRO.splat6Fused, dot: DOT.wide } });
  const counts = lanesPossible ? [1, 2, 3] : [1];
  return Promise.all(
    ways.map((way) =>
      Promise.all(counts.map((lanes) => WasmTrainDevice.create({ ...way, lanes, shared: lanesPossible }))),
    ),
  );
}

/** What `compute` gives is the same to the last bit on all devices of a family, and not nothing. Leaves no tensor. */
export async function sameBits(
  all: readonly (readonly WasmTrainDevice[])[],
  compute: (device: WasmTrainDevice) => Promise<readonly Float32Array[]>,
): Promise<void> {
  for (const family of all) {
    let want: readonly Float32Array[] | null = null;
    for (const device of family) {
      const got = await compute(device);
      assert.ok(got.every((numbers) => numbers.every(Number.isFinite) && numbers.some((v) => v !== 0)));
      want ??= got;
      for (const [i, numbers] of got.entries()) {
        assert.ok(same(bytes(numbers), bytes(want[i]!)), `result ${i} of ${JSON.stringify(device.description)}`);
      }
      assert.is(device.stats().tensors, 0, 'tensors left');
    }
  }
}

function bytes(numbers: Float32Array): Uint8Array {
  return new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength);
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
