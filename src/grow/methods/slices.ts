import type { Tensor } from '../../device/device.ts';
import type { DigitDevice } from '../../device/digit-device.ts';
import type { ExactDevice } from '../../device/exact-device.ts';
import { EspalierError } from '../../errors.ts';
import type { GrowPlan, ProjectionRecord } from '../types.ts';
import { loadProjection } from '../webgpu/load.ts';
import type { GpuProjection } from '../webgpu/projection.ts';
import { PURPOSE, permutation, streamOf } from './noise.ts';
import { computeSlice, holdBasis, type SliceGround } from './slice-products.ts';
import { type Basis, decompose, frobenius, type SpectrumOptions } from './spectrum.ts';

/** A block below this part of the norm of W is nothing: to scale it up would fill the experts with rounding errors. */
const EMPTY_BLOCK = 1e-10;
/** Basis vectors of a product. */
const STEP = 256;

export interface SliceOptions extends Omit<SpectrumOptions, 'gpu'> {
  /** Computes the Gram matrix and the slices; null: the device does. */
  readonly gpu?: DigitDevice | null;
}

/**
 * The slices R_g of one projection with their alpha (SPRI, eq. 10 to 13): R_g = U_g U_g^T W, or (W V_g) V_g^T where W is tall; their sum is
 * W, and they are orthogonal to each other. W and one slice at a time live on the device, in f32.
 */
export class Slices {
  /** [rows, columns] */
  readonly w: Tensor;
  /** ||R_g|| and alpha of each group. */
  readonly norms: readonly number[];
  readonly alphas: readonly number[];
  readonly #record: Omit<ProjectionRecord, 'noiseRatio' | 'gpu'>;
  readonly #device: ExactDevice;
  readonly #gpu: GpuProjection | null;
  readonly #signal: AbortSignal | undefined;
  /** Null: every slice is W. */
  readonly #basis: Basis | null;
  readonly #slice: Tensor | null;
  /** The basis on the device: where a GPU makes the slices, when one is needed that it missed. */
  #ground: Omit<SliceGround, 'w'> | null = null;
  readonly #ranges: readonly (readonly [from: number, to: number])[];
  #current = -1;

  /**
   * @param options `blocks` is the number of groups
   * @throws as `decompose`; E_ARGUMENT where a group's block is empty; E_TENSOR_VALUE for a matrix of zeros; E_DEVICE_LOST of a GPU
   */
  static async make(options: SliceOptions): Promise<Slices> {
    const { plan, blocks, layer, w, rows, columns } = options;
    const norm = frobenius(w);
    if (norm === 0) throw nothing(options);
    const isSpectral = plan.partition !== 'none';
    const gpu = options.gpu && isSpectral ? await onGpu(options.gpu, w, rows, columns) : null;
    try {
      const basis = isSpectral ? await decompose({ ...options, gpu }, norm) : null;
      if (basis) gpu?.hold(basis);
      // which block each group gets
      const stream = streamOf(layer, 0, PURPOSE.shuffle);
      const order = plan.shuffle
        ? permutation(blocks, plan.seed, stream)
        : Int32Array.from({ length: blocks }, (_, g) => g);
      const norms = Array.from(order, (b) => basis?.norms[b] ?? norm);
      if (plan.normalise === 'group') checkBlocks(norms, norm, options);
      if (plan.normalise === 'spectral' && basis) checkBlocks(basis.largest, basis.s![0]!, options);
      const alphas = Array.from(order, (b, g) => alphaOf(plan, norm, norms[g]!, basis, b));
      return new Slices(options, gpu, basis, order, { norm, norms, alphas });
    } catch (error) {
      gpu?.dispose();
      throw error;
    }
  }

  private constructor(
    options: SliceOptions,
    gpu: GpuProjection | null,
    basis: Basis | null,
    order: Int32Array,
    sizes: { readonly norm: number; readonly norms: readonly number[]; readonly alphas: readonly number[] },
  ) {
    const { device, rows, columns, w, projection } = options;
    const { norm, norms, alphas } = sizes;
    this.#device = device;
    this.#gpu = gpu;
    this.#signal = options.signal;
    this.norms = norms;
    this.alphas = alphas;
    this.#ranges = Array.from(order, (b) => [basis?.bounds[b] ?? 0, basis?.bounds[b + 1] ?? 0] as const);
    this.#basis = basis;
    const held: Tensor[] = [];
    const hold = (): Tensor => {
      const t = device.tensor('f32', [rows, columns]);
      held.push(t);
      return t;
    };
    try {
      this.w = hold();
      device.write(this.w, w);
      this.#slice = basis && hold();
      if (basis && !gpu) this.#ground = holdBasis(device, basis);
    } catch (error) {
      for (const t of held) t.dispose();
      throw error;
    }
    this.#record = {
      projection,
      largest: basis?.s?.[0] ?? null,
      smallest: basis?.s?.at(-1) ?? null,
      decomposition: basis?.decomposition ?? null,
      norm,
      blockEnergies: norms.map((e) => (e / norm) * (e / norm)),
      alphas,
      boundaryGaps: basis?.gaps ?? [],
    };
  }

  /** As far as slices have been made. */
  get record(): Omit<ProjectionRecord, 'noiseRatio'> {
    return { ...this.#record, gpu: this.#gpu?.record ?? null };
  }

  /** R_g [rows, columns] f32, until the next call. @throws E_ABORTED; E_DEVICE_LOST of a GPU */
  async slice(g: number): Promise<Tensor> {
    const slice = this.#slice;
    if (this.#basis === null || slice === null) return this.w;
    if (this.#current === g) return slice;
    this.#current = -1;
    const device = this.#device;
    const range = this.#ranges[g]!;
    const columns = slice.shape[1]!;
    const take = (first: number, rows: Float32Array): void =>
      device.write(device.rows(slice, first, rows.length / columns), rows);
    const isMade = await this.#gpu?.slice(g, range, take, this.#signal);
    if (!isMade) {
      this.#ground ??= holdBasis(device, this.#basis);
      await computeSlice(device, { w: this.w, ...this.#ground }, range, slice, { step: STEP, signal: this.#signal });
    }
    this.#current = g;
    return slice;
  }

  dispose(): void {
    this.#gpu?.dispose();
    for (const t of [this.w, this.#slice, this.#ground?.own, this.#ground?.other]) t?.dispose();
  }
}

async function onGpu(device: DigitDevice, w: Float32Array, rows: number, columns: number): Promise<GpuProjection> {
  const { GpuProjection } = await loadProjection();
  return new GpuProjection(device, w, rows, columns);
}

/** alpha of a group (eq. 13, and the other rules of `normalise`). @param e ||R_g|| */
function alphaOf({ normalise, rho, delta }: GrowPlan, norm: number, e: number, basis: Basis | null, b: number): number {
  switch (normalise) {
    case 'group':
      return (rho * norm) / (e + delta);
    case 'global':
      return rho;
    case 'spectral':
      // all of W where there is no basis
      return basis === null ? rho : (rho * basis.s![0]!) / basis.largest[b]!;
    case 'none':
      return 1;
    default:
      throw normalise satisfies never;
  }
}

function nothing({ layer, projection }: SliceOptions): EspalierError {
  return new EspalierError(
    'E_TENSOR_VALUE',
    `Layer ${layer}, ${projection}: the matrix is all zeros, so it has no singular directions and no size that rho could be a part of.`,
    'Leave this layer out (`layers`).',
  );
}

/** @param norms of the blocks, or their largest singular values, and that of the whole */
function checkBlocks(norms: readonly number[], norm: number, { layer, projection }: SliceOptions): void {
  const g = norms.findIndex((e) => e <= EMPTY_BLOCK * norm);
  if (g < 0) return;
  throw new EspalierError(
    'E_ARGUMENT',
    `Layer ${layer}, ${projection}: the singular components of group ${g + 1} are nothing beside the rest, so they cannot be scaled to rho.`,
    'The matrix has a low rank. Use `partition: equal-energy`, a larger groupSize, or `normalise: global`.',
  );
}
