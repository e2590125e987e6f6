import type { Device } from '../device/device.ts';
import { Lanes } from '../device/wasm/lanes.ts';
import { hasRelaxedSimd, instantiate, loadKernels } from '../device/wasm/load-kernels.ts';
import { newMemory, WasmMemory } from '../device/wasm/memory.ts';
import { spawnLane } from '../device/wasm/spawn-lane.ts';
import type { WasmDevice } from '../device/wasm/wasm-device.ts';
import { EspalierError } from '../errors.ts';
import { checked, filled } from '../options/check.ts';
import { isOptions } from '../options/rules.ts';
import { Blas } from './blas.ts';
import { gram } from './gram.ts';
import {
  type BatchOptions,
  batchOptions,
  type EigOptions,
  eigOptions,
  type GramOptions,
  gramOptions,
  type LinearAlgebraOptions,
  linearAlgebraOptions,
  type RandomizedOptions,
  randomizedOptions,
  type SvdOptions,
  svdOptions,
  type TruncatedOptions,
  truncatedOptions,
} from './options.ts';
import { randomizedSvd } from './randomized.ts';
import { svd, truncatedSvd } from './svd.ts';
import { symmetricEig } from './symmetric-eig.ts';
import type { Matrix, Svd, SymmetricEig, TruncatedSvd } from './types.ts';

/**
 * Dense linear algebra in f64 in the calling thread, over one WebAssembly memory. Calls may overlap: they take turns between panels.
 *
 * Every call throws E_ARGUMENT and E_SHAPE for options and lengths that do not fit, E_TENSOR_VALUE for NaN and infinity,
 * E_OUT_OF_MEMORY for a matrix that is too large, all before work begins; E_ABORTED when its signal fires; E_DISPOSED after `close`;
 * E_WORKER_LOST when a lane is gone. Memory is returned in every case.
 */
export class LinearAlgebra {
  readonly #blas: Blas;
  /** Whose memory and lanes these are, where they are borrowed. */
  readonly #device: WasmDevice | null;
  #closed = false;
  /** Calls under way. */
  #calls = 0;

  /** @throws E_DEVICE_UNSUPPORTED without WebAssembly SIMD; E_OUT_OF_MEMORY; E_WORKER_LOST when a lane does not start */
  static async create(given: LinearAlgebraOptions = {}): Promise<LinearAlgebra> {
    const options = filled(
      linearAlgebraOptions,
      checked<LinearAlgebraOptions>(linearAlgebraOptions, given, 'LinearAlgebra.create'),
    );
    const count = options.lanes;
    const module = await loadKernels(
      options.shared ?? count > 1,
      options.relaxed ?? hasRelaxedSimd(),
      options.wasmLocation,
    );
    const memory = newMemory(module.shared);
    const kernels = await instantiate(module, memory);
    const own = new WasmMemory(memory, kernels.heapBase(), options.memoryLimit);
    const lanes = new Lanes(kernels, module.module, own, count);
    const algebra = new LinearAlgebra(new Blas(kernels, own, lanes), null);
    try {
      await Promise.all(lanes.seats().map((seat) => (options.spawnLane ?? spawnLane)(seat)));
    } catch (cause) {
      algebra.close();
      if (cause instanceof EspalierError) throw cause;
      throw new EspalierError('E_WORKER_LOST', 'A lane did not start.', 'Ask for fewer lanes.', { cause });
    }
    return algebra;
  }

  /**
   * The same over a wasm device's memory, kernels and lanes. `close` leaves the device as it is, and returns what was taken of its memory when
   * no call is under way. A device with `relaxed: false` gives the same bits in every engine.
   * @throws E_OUT_OF_MEMORY; E_DISPOSED for a closed device
   */
  static over(device: Device): LinearAlgebra {
    if (!isWasm(device)) {
      throw new EspalierError('E_ARGUMENT', 'That is no WasmDevice.', 'Give what WasmDevice.create() makes.');
    }
    const { kernels, memory, lanes } = device.parts();
    return new LinearAlgebra(new Blas(kernels, memory, lanes), device);
  }

  private constructor(blas: Blas, device: WasmDevice | null) {
    this.#blas = blas;
    this.#device = device;
  }

  /** Threads that compute together. */
  get lanes(): number {
    return this.#blas.lanes.count;
  }

  /** Bytes of the memory in use, and the most that were. */
  stats(): { bytesInUse: number; peakBytes: number } {
    const { bytesInUse, peakBytes } = this.#blas.memory;
    return { bytesInUse, peakBytes };
  }

  /**
   * Eigenvalues and eigenvectors of a symmetric matrix [n, n], of which the upper triangle is read: blocked tridiagonalisation, divide and conquer,
   * blocked back-transformation (LAPACK dsyevd). Normwise backward stable.
   */
  async symmetricEig<T extends Matrix>(a: T, options: EigOptions): Promise<SymmetricEig<T>> {
    const given = checked<EigOptions>(eigOptions, options, 'symmetricEig');
    return this.#call((blas) => symmetricEig(blas, a, given));
  }

  /**
   * Thin singular value decomposition A = U S V^T of a matrix [rows, columns]: QR where it is tall, then blocked bidiagonalisation, divide and
   * conquer and back-transformation (LAPACK dgesdd); with `accuracy: 'relative'` pivoted QR and one-sided Jacobi (dgejsv).
   */
  async svd<T extends Matrix>(a: T, options: SvdOptions): Promise<Svd<T>> {
    const given = checked<SvdOptions>(svdOptions, options, 'svd');
    return this.#call((blas) => svd(blas, a, given));
  }

  /** The leading `rank` singular triplets, by the full decomposition without the vectors that are not asked for; the error is exact. */
  async truncatedSvd<T extends Matrix>(a: T, options: TruncatedOptions): Promise<TruncatedSvd<T>> {
    const given = checked<TruncatedOptions>(truncatedOptions, options, 'truncatedSvd');
    return this.#call((blas) => truncatedSvd(blas, a, given));
  }

  /**
   * The leading `rank` singular triplets from a random sketch, in some 4 (powerIterations + 1.5) rows columns (rank + oversampling) operations:
   * faster where the rank is a small part, exact only where the rest is small. The error comes with it.
   */
  async randomizedSvd<T extends Matrix>(a: T, options: RandomizedOptions): Promise<TruncatedSvd<T>> {
    const given = checked<RandomizedOptions>(randomizedOptions, options, 'randomizedSvd');
    return this.#call((blas) => randomizedSvd(blas, a, given));
  }

  /** A A^T or A^T A in f64, whatever the type of A, by half of it; A passes through the memory in slices. */
  async gram(a: Matrix, options: GramOptions): Promise<Float64Array> {
    const given = checked<GramOptions>(gramOptions, options, 'gram');
    return this.#call((blas) => gram(blas, a, given));
  }

  /** `svd` of each matrix in turn, over the same memory. `onProgress` and `signal` are those of the whole. */
  async svdBatch<T extends Matrix>(
    matrices: readonly { readonly a: T; readonly rows: number; readonly columns: number }[],
    options: BatchOptions = {},
  ): Promise<Svd<T>[]> {
    const given = checked<BatchOptions>(batchOptions, options, 'svdBatch');
    if (!Array.isArray(matrices) || ![...matrices].every(isOptions)) {
      throw new EspalierError('E_ARGUMENT', 'The matrices are no list of objects.', 'Give [{ a, rows, columns }, …].');
    }
    const results: Svd<T>[] = [];
    for (const [i, { a, rows, columns }] of matrices.entries()) {
      const onProgress = given.onProgress && ((f: number) => given.onProgress!((i + f) / matrices.length));
      results.push(await this.svd(a, { ...given, rows, columns, ...(onProgress && { onProgress }) }));
    }
    return results;
  }

  /** Ends the lanes, unless they are a device's. Calls under way end as usual in one lane, and with E_WORKER_LOST in several. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#device === null) this.#blas.lanes.close();
    else if (this.#calls === 0) this.#blas.dispose();
  }

  async #call<T>(work: (blas: Blas) => Promise<T>): Promise<T> {
    if (this.#closed) {
      throw new EspalierError('E_DISPOSED', 'This workspace was closed.', 'Create another one.');
    }
    this.#device?.parts();
    this.#calls++;
    try {
      return await work(this.#blas);
    } finally {
      this.#calls--;
      if (this.#closed && this.#device !== null && this.#calls === 0) this.#blas.dispose();
    }
  }
}

/** Whether `LinearAlgebra.over` takes it: devices of GPUs have parts, too, but no kernels. @throws E_DISPOSED for a closed device */
export function isWasm(device: Device): device is WasmDevice {
  const { parts } = (device ?? {}) as Partial<WasmDevice>;
  return typeof parts === 'function' && 'kernels' in parts.call(device);
}
