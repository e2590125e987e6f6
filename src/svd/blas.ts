import type { Kernels } from '../device/wasm/kernels.ts';
import { evenly, type Lanes } from '../device/wasm/lanes.ts';
import type { WasmMemory } from '../device/wasm/memory.ts';
import { EspalierError } from '../errors.ts';

/** Rows of a part of a product: a multiple of every tile's rows, so that the parts give the bits of the whole. */
const PART = 60;
/** Roots and vectors below which they are not shared out. */
const FEW = 128;
/** Multiply-adds below which a product is not shared out. */
const SMALL = 1 << 18;

/** A matrix operand: address and the strides of its two indices, in bytes. */
export type Operand = readonly [at: number, stride: number, nextStride: number];

/** A row-major matrix with `ld` bytes between its rows, as an operand. */
export const plain = (at: number, ld: number): Operand => [at, ld, 8];
/** Its transpose. */
export const transposed = (at: number, ld: number): Operand => [at, 8, ld];

/** The f64 kernels over one memory, with their scratch. Addresses and strides are bytes. */
export class Blas {
  readonly kernels: Kernels;
  readonly memory: WasmMemory;
  readonly lanes: Lanes;
  readonly #scratch: number;
  readonly #scratchBytes: number;
  #heap: Float64Array | null = null;

  /** @throws E_OUT_OF_MEMORY */
  constructor(kernels: Kernels, memory: WasmMemory, lanes: Lanes) {
    this.kernels = kernels;
    this.memory = memory;
    this.lanes = lanes;
    this.#scratchBytes = Math.ceil(kernels.gemm64Scratch(1 << 20, 1 << 20) / 64) * 64;
    this.#scratch = memory.allocate(this.#scratchBytes * lanes.count);
  }

  dispose(): void {
    this.memory.free(this.#scratch);
  }

  /** The memory as numbers: number i is at address 8 i. Not to be kept over an `await` or an allocation, which may move it. */
  get heap(): Float64Array {
    const { buffer } = this.memory.memory;
    if (this.#heap === null || this.#heap.buffer !== buffer) this.#heap = new Float64Array(buffer);
    return this.#heap;
  }

  /** Numbers at an address; to be kept no longer than `heap`. */
  view(at: number, length: number): Float64Array {
    return new Float64Array(this.memory.memory.buffer, at, length);
  }

  /**
   * C[m, n] (+)= alpha · A[m, k] · B[k, n]; C row-major. Strides of A: row, k; of B: k, column.
   * @param diagonal 0: only the upper triangle (and a little below it); -m, the default, all of C
   */
  gemm(
    m: number,
    n: number,
    k: number,
    alpha: number,
    a: Operand,
    b: Operand,
    c: number,
    ldc: number,
    accumulate: boolean,
    diagonal: number = -m,
  ): void {
    const { count } = this.lanes;
    const bounds = count === 1 || m * n * k < SMALL ? [0, m] : this.#parts(m, n, diagonal, count);
    this.lanes.run('gemm64', bounds, (first, last, lane) => [
      last - first,
      n,
      k,
      alpha,
      a[0] + first * a[1],
      a[1],
      a[2],
      ...b,
      c + first * ldc,
      ldc,
      Number(accumulate),
      diagonal + first,
      this.#scratch + lane * this.#scratchBytes,
    ]);
  }

  /** Ranges of `count` independent things, one a lane. */
  shares(count: number): number[] {
    return count < FEW ? [0, count] : evenly(count, this.lanes.count, 2);
  }

  /** Rows for each lane; of a triangle so that the areas are equal. */
  #parts(m: number, n: number, diagonal: number, count: number): number[] {
    if (diagonal !== 0) return evenly(m, count, PART);
    return evenly(count, count).map((i) =>
      Math.min(m, Math.round((n * (1 - Math.sqrt(1 - i / count))) / PART) * PART + (i === count ? m : 0)),
    );
  }
}

/** Memory of one computation: all of it is returned together. */
export class Workspace {
  readonly #memory: WasmMemory;
  readonly #held = new Set<number>();

  constructor(memory: WasmMemory) {
    this.#memory = memory;
  }

  /** Address of `count` f64 of undefined content. @throws E_OUT_OF_MEMORY */
  numbers(count: number): number {
    const at = this.#memory.allocate(8 * count);
    this.#held.add(at);
    return at;
  }

  /** Makes sure that `count` f64 can be had, before work begins. @throws E_OUT_OF_MEMORY */
  reserve(count: number): void {
    if (!(8 * count < 2 ** 32)) throw tooLarge(count);
    try {
      this.#memory.free(this.#memory.allocate(8 * Math.ceil(count)));
    } catch (cause) {
      throw tooLarge(count, cause);
    }
  }

  free(at: number): void {
    this.#held.delete(at);
    this.#memory.free(at);
  }

  release(): void {
    for (const at of this.#held) this.#memory.free(at);
    this.#held.clear();
  }
}

function tooLarge(count: number, cause?: unknown): EspalierError {
  return new EspalierError(
    'E_OUT_OF_MEMORY',
    `The matrix needs ${Math.ceil((8 * count) / 2 ** 20)} MiB, and there is less.`,
    'A workspace has 4 GiB at most. Ask for fewer singular vectors, or use `randomizedSvd`.',
    { cause },
  );
}
