import { type Blas, Workspace } from './blas.ts';
import { tridiagonalEigen } from './eigen-divide.ts';
import { checkMatrix, load, take, unscaled } from './input.ts';
import type { EigOptions } from './options.ts';
import { eigQuality } from './quality.ts';
import { applyReflectors } from './reflectors.ts';
import { Steps } from './steps.ts';
import { tridiagonalise } from './tridiagonal.ts';
import type { Matrix, SymmetricEig } from './types.ts';

/** See LinearAlgebra.symmetricEig. */
export async function symmetricEig<T extends Matrix>(blas: Blas, a: T, options: EigOptions): Promise<SymmetricEig<T>> {
  const { n } = options;
  checkMatrix(a, n, n);
  const steps = new Steps(options);
  const workspace = new Workspace(blas.memory);
  try {
    workspace.reserve(4 * n * n + 320 * n + 20000);
    const { at, exponent } = load(blas, workspace, a, n);
    const q = workspace.numbers(n * n);
    steps.span(0, 0.4);
    const { d, e, reflectors } = await tridiagonalise(blas, workspace, steps, n, at);
    steps.span(0.4, 0.65);
    const order = await tridiagonalEigen(blas, workspace, steps, d, e, q);
    // largest first
    const vectors = workspace.numbers(n * n);
    const { heap } = blas;
    const rows = Array.from(order).reverse();
    rows.forEach((row, i) => {
      heap.copyWithin(vectors / 8 + i * n, q / 8 + row * n, q / 8 + (row + 1) * n);
    });
    steps.span(0.65, 1);
    await applyReflectors(blas, workspace, steps, reflectors, vectors, 8 * n, n);
    const values = unscaled(
      Float64Array.from(rows, (row) => d[row]!),
      exponent,
    );
    const result = { values, vectors: take(blas, a, vectors, n * n) };
    for (const x of [at, q, vectors]) workspace.free(x);
    return { ...result, quality: options.quality ? eigQuality(blas, workspace, a, n, result) : null };
  } finally {
    workspace.release();
  }
}
