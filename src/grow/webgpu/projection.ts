import type { Tensor } from '../../device/device.ts';
import type { DigitDevice } from '../../device/digit-device.ts';
import { gramByDigits } from '../../svd/gram-by-digits.ts';
import type { StepOptions } from '../../svd/steps.ts';
import { computeSlice, holdBasis, type SliceGround } from '../methods/slice-products.ts';
import type { Basis } from '../methods/spectrum.ts';
import type { GpuRecord } from '../types.ts';
import { type Probe, probeOf } from './probe.ts';

/** Above this part of the result a Gram matrix is not as exact as eigenvalues need it: below it they count as rounding anyway. */
const GRAM_BOUND = 1e-12;
/** Above this part of W a slice is not what slices on the CPU are held to. */
const SLICE_BOUND = 1e-5;
/** Basis vectors of a product: many, since a GPU wants large ones. */
const STEP = 1024;
/** Bytes of a slice that are read at a time. */
const PIECE = 64 << 20;

/**
 * A projection's heavy products on a GPU: W's Gram matrix and slices. Each result is probed on the CPU in f64, by a product with a random vector (Freivalds
 * 1979), which costs a pass over it: what misses its bound is not taken, and whoever asked computes it on the CPU.
 */
export class GpuProjection {
  readonly #device: DigitDevice;
  readonly #w: Float32Array;
  readonly #on: Tensor;
  readonly #probe: Probe;
  readonly #adapter: string;
  #basis: { readonly of: Basis; readonly on: Omit<SliceGround, 'w'>; readonly slice: Tensor } | null = null;
  #gramError: number | null = null;
  #sliceError: number | null = null;
  readonly #recomputed: ('gram' | number)[] = [];

  /** @param w [rows, columns] @throws E_OUT_OF_MEMORY */
  constructor(device: DigitDevice, w: Float32Array, rows: number, columns: number) {
    this.#device = device;
    this.#w = w;
    this.#probe = probeOf(w, rows, columns);
    this.#adapter = device.description['adapter'] ?? '';
    this.#on = device.tensor('f32', [rows, columns]);
    device.write(this.#on, w);
  }

  get record(): GpuRecord {
    return {
      adapter: this.#adapter,
      gramError: this.#gramError,
      sliceError: this.#sliceError,
      recomputed: this.#recomputed,
    };
  }

  /** Of the smaller side, as `LinearAlgebra.gram`; null where it misses its bound. @throws E_TENSOR_VALUE, E_ABORTED, E_OUT_OF_MEMORY, E_DEVICE_LOST */
  async gram(steps: StepOptions): Promise<Float64Array | null> {
    const [rows, columns] = this.#on.shape as [number, number];
    const side = rows <= columns ? 'left' : 'right';
    const gram = await gramByDigits(this.#device, this.#w, this.#on, { rows, columns, side, ...steps });
    this.#gramError = this.#probe.gramError(gram);
    if (this.#gramError <= GRAM_BOUND) return gram;
    this.#recomputed.push('gram');
    return null;
  }

  /** What slices are made of from now on. @throws E_OUT_OF_MEMORY */
  hold(basis: Basis): void {
    const slice = this.#device.tensor('f32', this.#on.shape);
    try {
      this.#basis = { of: basis, on: holdBasis(this.#device, basis), slice };
    } catch (error) {
      slice.dispose();
      throw error;
    }
  }

  /**
   * The slice of a group, as `computeSlice` computes it.
   * @param take gets it in pieces of whole rows, in their order
   * @returns false where it misses its bound
   * @throws E_ABORTED, E_OUT_OF_MEMORY, E_DEVICE_LOST
   */
  async slice(
    group: number,
    range: readonly [from: number, to: number],
    take: (first: number, rows: Float32Array) => void,
    signal: AbortSignal | undefined,
  ): Promise<boolean> {
    const { of, on, slice } = this.#basis!;
    const device = this.#device;
    await computeSlice(device, { w: this.#on, ...on }, range, slice, { step: STEP, signal });
    const [rows, columns] = slice.shape as [number, number];
    const check = this.#probe.slice(of, range);
    const step = Math.max(1, Math.floor(PIECE / (4 * columns)));
    for (let first = 0; first < rows; first += step) {
      const count = Math.min(step, rows - first);
      const values = (await device.read(device.rows(slice, first, count))) as Float32Array;
      check.see(first, values);
      take(first, values);
    }
    const error = check.error();
    this.#sliceError = Math.max(this.#sliceError ?? 0, error);
    if (error <= SLICE_BOUND) return true;
    if (!this.#recomputed.includes(group)) this.#recomputed.push(group);
    return false;
  }

  dispose(): void {
    for (const t of [this.#on, this.#basis?.slice, this.#basis?.on.own, this.#basis?.on.other]) t?.dispose();
  }
}
