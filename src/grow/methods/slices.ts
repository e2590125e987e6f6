import type { Tensor } from '../../device/device.ts';
import type { ExactDevice } from '../../device/exact-device.ts';
import { EspalierError, throwIfAborted } from '../../errors.ts';
import { Pace } from '../../runtime/host/yielding.ts';
import type { GrowPlan, ProjectionRecord } from '../types.ts';
import { PURPOSE, permutation, streamOf } from './noise.ts';
import { type Basis, decompose, frobenius, type SpectrumOptions } from './spectrum.ts';

/** A block below this part of the norm of W is nothing: to scale it up would fill the experts with rounding errors. */
const EMPTY_BLOCK = 1e-10;
/** Basis vectors of a product. */
const STEP = 256;

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
  readonly record: Omit<ProjectionRecord, 'noiseRatio'>;
  readonly #device: ExactDevice;
  readonly #signal: AbortSignal | undefined;
  /** Null: every slice is W. */
  readonly #basis: { readonly own: Tensor; readonly other: Tensor | null; readonly slice: Tensor } | null;
  readonly #ranges: readonly (readonly [from: number, to: number])[];
  #current = -1;

  /**
   * @param options `blocks` is the number of groups
   * @throws as `decompose`; E_ARGUMENT where a group's block is empty; E_TENSOR_VALUE for a matrix of zeros
   */
  static async make(options: SpectrumOptions): Promise<Slices> {
    const { plan, blocks, layer, w } = options;
    const norm = frobenius(w);
    if (norm === 0) throw nothing(options);
    const basis = plan.partition === 'none' ? null : await decompose(options, norm);
    // which block each group gets
    const stream = streamOf(layer, 0, PURPOSE.shuffle);
    const order = plan.shuffle
      ? permutation(blocks, plan.seed, stream)
      : Int32Array.from({ length: blocks }, (_, g) => g);
    const norms = Array.from(order, (b) => basis?.norms[b] ?? norm);
    if (plan.normalise === 'group') checkBlocks(norms, norm, options);
    if (plan.normalise === 'spectral' && basis) checkBlocks(basis.largest, basis.s![0]!, options);
    const alphas = Array.from(order, (b, g) => alphaOf(plan, norm, norms[g]!, basis, b));
    return new Slices(options, basis, order, { norm, norms, alphas });
  }

  private constructor(
    options: SpectrumOptions,
    basis: Basis | null,
    order: Int32Array,
    sizes: { readonly norm: number; readonly norms: readonly number[]; readonly alphas: readonly number[] },
  ) {
    const { device, rows, columns, w, projection } = options;
    const { norm, norms, alphas } = sizes;
    this.#device = device;
    this.#signal = options.signal;
    this.norms = norms;
    this.alphas = alphas;
    this.#ranges = Array.from(order, (b) => [basis?.bounds[b] ?? 0, basis?.bounds[b + 1] ?? 0] as const);
    const held: Tensor[] = [];
    const hold = (shape: readonly number[], values: Float32Array | null): Tensor => {
      const t = device.tensor('f32', shape);
      held.push(t);
      if (values) device.write(t, values);
      return t;
    };
    try {
      this.w = hold([rows, columns], w);
      const count = basis?.bounds.at(-1) ?? 0;
      this.#basis = basis && {
        own: hold([count, Math.min(rows, columns)], basis.own),
        other: basis.other && hold([count, Math.max(rows, columns)], basis.other),
        slice: hold([rows, columns], null),
      };
    } catch (error) {
      for (const t of held) t.dispose();
      throw error;
    }
    this.record = {
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

  /** R_g [rows, columns] f32, until the next call. @throws E_ABORTED */
  async slice(g: number): Promise<Tensor> {
    if (this.#basis === null) return this.w;
    const { slice } = this.#basis;
    if (this.#current === g) return slice;
    this.#current = -1;
    const device = this.#device;
    const { own, other } = this.#basis;
    const [rows, columns] = this.w.shape as [number, number];
    const [from, to] = this.#ranges[g]!;
    const pace = new Pace();
    for (let first = from; first < to; first += STEP) {
      const count = Math.min(STEP, to - first);
      const accumulate = first > from;
      const mark = device.mark();
      const vectors = device.rows(own, first, count);
      if (rows <= columns) {
        let across: Tensor;
        if (other) across = device.rows(other, first, count);
        else {
          across = device.scratch('f32', [count, columns]);
          device.matmul(vectors, this.w, across);
        }
        device.matmul(vectors, across, slice, { transposeA: true, accumulate });
      } else if (other) {
        device.matmul(device.rows(other, first, count), vectors, slice, { transposeA: true, accumulate });
      } else {
        const across = device.scratch('f32', [rows, count]);
        device.matmul(this.w, vectors, across, { transposeB: true });
        device.matmul(across, vectors, slice, { accumulate });
      }
      device.reset(mark);
      await pace.breathe();
      throwIfAborted(this.#signal);
    }
    this.#current = g;
    return slice;
  }

  dispose(): void {
    this.w.dispose();
    if (this.#basis === null) return;
    for (const t of [this.#basis.own, this.#basis.other, this.#basis.slice]) t?.dispose();
  }
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

function nothing({ layer, projection }: SpectrumOptions): EspalierError {
  return new EspalierError(
    'E_TENSOR_VALUE',
    `Layer ${layer}, ${projection}: the matrix is all zeros, so it has no singular directions and no size that rho could be a part of.`,
    'Leave this layer out (`layers`).',
  );
}

/** @param norms of the blocks, or their largest singular values, and that of the whole */
function checkBlocks(norms: readonly number[], norm: number, { layer, projection }: SpectrumOptions): void {
  const g = norms.findIndex((e) => e <= EMPTY_BLOCK * norm);
  if (g < 0) return;
  throw new EspalierError(
    'E_ARGUMENT',
    `Layer ${layer}, ${projection}: the singular components of group ${g + 1} are nothing beside the rest, so they cannot be scaled to rho.`,
    'The matrix has a low rank. Use `partition: equal-energy`, a larger groupSize, or `normalise: global`.',
  );
}
