import { EspalierError } from '../errors.ts';
import { type Blas, plain, transposed, Workspace } from './blas.ts';
import { checkMatrix } from './input.ts';
import type { GramOptions } from './options.ts';
import { Steps } from './steps.ts';
import type { Matrix } from './types.ts';

/** Rows or columns of A that are in the workspace at a time. */
const SLICE = 512;

/** See LinearAlgebra.gram. */
export async function gram(blas: Blas, a: Matrix, options: GramOptions): Promise<Float64Array> {
  const { rows, columns, side } = options;
  checkMatrix(a, rows, columns);
  if (side !== 'left' && side !== 'right') {
    throw new EspalierError('E_ARGUMENT', `side is ${String(side)}.`, "It takes 'left' or 'right'.");
  }
  const steps = new Steps(options);
  const workspace = new Workspace(blas.memory);
  const [n, depth] = side === 'left' ? [rows, columns] : [columns, rows];
  try {
    workspace.reserve(n * n + n * SLICE + 1000);
    const c = workspace.numbers(n * n);
    const slice = workspace.numbers(n * SLICE);
    for (let k = 0; k < depth; k += SLICE) {
      const size = Math.min(SLICE, depth - k);
      const { heap } = blas;
      if (side === 'right') heap.set(a.subarray(k * n, (k + size) * n), slice / 8);
      else for (let i = 0; i < n; i++) heap.set(a.subarray(i * depth + k, i * depth + k + size), slice / 8 + i * size);
      if (!Number.isFinite(blas.kernels.largest64(n * size, slice))) {
        throw new EspalierError('E_TENSOR_VALUE', 'The matrix has NaN or infinity in it.', 'Look where it comes from.');
      }
      if (side === 'right') {
        blas.gemm(n, n, size, 1, transposed(slice, 8 * n), plain(slice, 8 * n), c, 8 * n, k > 0, 0);
      } else blas.gemm(n, n, size, 1, plain(slice, 8 * size), transposed(slice, 8 * size), c, 8 * n, k > 0, 0);
      await steps.step((k + size) / depth);
    }
    blas.kernels.mirror64(n, c, 8 * n);
    return blas.view(c, n * n).slice();
  } finally {
    workspace.release();
  }
}
