import { EspalierError } from '../../errors.ts';

/** Vectors of one length, row-major [count, width]. */
export interface Points {
  readonly values: Float64Array;
  readonly count: number;
  readonly width: number;
}

/** @throws E_ARGUMENT for none, for different lengths, and for numbers that are not finite */
export function pointsOf(vectors: readonly ArrayLike<number>[]): Points {
  const width = vectors[0]?.length ?? 0;
  const other = vectors.findIndex((vector) => vector.length !== width);
  if (width === 0 || other >= 0) {
    const what =
      width === 0
        ? 'There are no vectors.'
        : `Vector ${other} has ${vectors[other]!.length} numbers, the first ${width}.`;
    throw new EspalierError('E_ARGUMENT', what, 'Give vectors of one length.');
  }
  const values = new Float64Array(vectors.length * width);
  for (const [i, vector] of vectors.entries()) values.set(vector, i * width);
  const bad = values.findIndex((value) => !Number.isFinite(value));
  if (bad < 0) return { values, count: vectors.length, width };
  const what = `Vector ${Math.floor(bad / width)} has a number that is not finite.`;
  throw new EspalierError('E_ARGUMENT', what, 'Give finite numbers.');
}

/** Squared Euclidean distance of the rows that begin at i of a and at j of b. Sums in one order: the same bits in every runtime. */
export function squaredDistance(a: Float64Array, i: number, b: Float64Array, j: number, width: number): number {
  let sum = 0;
  for (let k = 0; k < width; k++) {
    const d = a[i + k]! - b[j + k]!;
    sum += d * d;
  }
  return sum;
}
