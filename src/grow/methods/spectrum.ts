import type { ExactDevice } from '../../device/exact-device.ts';
import { throwIfAborted } from '../../errors.ts';
import { Pace } from '../../runtime/host/yielding.ts';
import type { LinearAlgebra } from '../../svd/linear-algebra.ts';
import type { StepOptions } from '../../svd/steps.ts';
import type { GrowPlan, Projection } from '../types.ts';
import { normals, ofProjection, streamOf } from './noise.ts';
import { evenSplit, partitionSpectrum } from './partition.ts';

/** Below this part of the largest eigenvalue, those of a Gram matrix are rounding. */
const GRAM_NOISE = 1e-12;
/** Below this part of the norm of W, a block that a product in f32 takes out of W has lost digits. */
const SMALL_BLOCK = 1e-3;
/** Below this part of the largest, a singular value is rounding unless it was found with relative accuracy. */
const SVD_NOISE = 1e-12;

export interface SpectrumOptions {
  readonly device: ExactDevice;
  readonly algebra: LinearAlgebra;
  /** W on a GPU, where its Gram matrix is computed; null: on the device. */
  readonly gpu?: { gram(steps: StepOptions): Promise<Float64Array | null> } | null;
  readonly plan: GrowPlan;
  readonly layer: number;
  readonly projection: Projection;
  /** Blocks that are wanted. */
  readonly blocks: number;
  /** [rows, columns] */
  readonly w: Float32Array;
  readonly rows: number;
  readonly columns: number;
  readonly signal?: AbortSignal | undefined;
  /** Called with the share that is done, 0 to 1. */
  readonly onProgress?: ((fraction: number) => void) | undefined;
}

/** An orthonormal basis of the smaller side of W [n of n, N], in blocks. */
export interface Basis {
  /** f32 [count, n], in the order of blocks: block b has the rows from bounds[b] to bounds[b + 1] - 1. */
  readonly own: Float32Array;
  readonly bounds: readonly number[];
  /** s_j times the vectors of the other side [count, N], where they were computed; else own · W gives them. */
  readonly other: Float32Array | null;
  /** ||R|| of each block, and its largest singular value, NaN where it has none. */
  readonly norms: readonly number[];
  readonly largest: readonly number[];
  /** Singular values of W, largest first, or null for a random basis. */
  readonly s: Float64Array | null;
  /** Gaps (s_b - s_b+1) / s_1 where blocks meet. */
  readonly gaps: readonly number[];
  readonly decomposition: 'gram' | 'svd' | null;
}

/**
 * Decomposes W and cuts its spectrum as the plan has it. Blocks are subspaces, for which the eigenvectors of the smaller Gram matrix in f64
 * do, at a fraction of the time of a singular value decomposition; that is made where a boundary lies among eigenvalues that are rounding,
 * or a block is so small that taking it out of W would lose it.
 *
 * @throws E_TENSOR_VALUE for NaN and infinity; E_ARGUMENT where a block would have no component; E_OUT_OF_MEMORY, E_ABORTED
 */
export async function decompose(options: SpectrumOptions, norm: number): Promise<Basis> {
  if (options.plan.partition === 'random-orthogonal') return randomBasis(options);
  const { algebra, w, rows, columns, signal, gpu } = options;
  const side = rows <= columns ? 'left' : 'right';
  const n = Math.min(rows, columns);
  const toGram = steps(options, 0, 0.2);
  const gram = (await gpu?.gram(toGram)) ?? (await algebra.gram(w, { rows, columns, side, ...toGram }));
  const { values, vectors } = await algebra.symmetricEig(gram, { n, ...steps(options, 0.2, 1) });
  throwIfAborted(signal);
  const s = values.map((x) => Math.sqrt(Math.max(0, x)));
  const basis = cut(options, s, vectors, null, 'gram');
  if (basis.boundary >= Math.sqrt(GRAM_NOISE) * s[0]!) {
    if (basis.norms.every((e) => e >= SMALL_BLOCK * norm)) return basis;
  }
  const exact = await triplets(options, 'norm');
  return exact.boundary >= SVD_NOISE * exact.s![0]! ? exact : triplets(options, 'relative');
}

/** Progress and abort of a step from one share to another. */
function steps({ signal, onProgress }: SpectrumOptions, from: number, to: number): StepOptions {
  return {
    ...(signal && { signal }),
    ...(onProgress && { onProgress: (fraction: number) => onProgress(from + (to - from) * fraction) }),
  };
}

type Cut = Basis & {
  /** Smallest singular value that has a boundary behind it. */
  readonly boundary: number;
};

async function triplets(options: SpectrumOptions, accuracy: 'norm' | 'relative'): Promise<Cut> {
  const { algebra, w, rows, columns } = options;
  const { u, s, vt } = await algebra.svd(w, { rows, columns, accuracy, ...steps(options, 0.5, 1) });
  const r = s.length;
  const left = new Float32Array(r * rows);
  for (let i = 0; i < rows; i++) for (let j = 0; j < r; j++) left[j * rows + i] = u[i * r + j]!;
  const [own, other, far] = rows <= columns ? [left, vt, columns] : [vt, left, rows];
  const scaled = other.map((x, i) => x * s[Math.floor(i / far)]!);
  return cut(options, s, own, scaled, 'svd');
}

/** @param own, other: a vector a row, in the order of s */
function cut(
  { plan, layer, projection, blocks, rows, columns }: SpectrumOptions,
  s: Float64Array,
  own: Float32Array | Float64Array,
  other: Float32Array | null,
  decomposition: 'gram' | 'svd',
): Cut {
  const stream = streamOf(layer, 0, ofProjection('partition', projection));
  const { members, boundaries } = partitionSpectrum(s, plan.partition, blocks, plan.seed, stream);
  const order = members.flat();
  const largest = s[0]!;
  const gaps = boundaries.map((j) => (s[j]! - s[j + 1]!) / largest);
  return {
    own: gather(own, order, Math.min(rows, columns)),
    other: other && gather(other, order, Math.max(rows, columns)),
    bounds: boundsOf(members.map((block) => block.length)),
    norms: members.map((block) => Math.sqrt(block.reduce((sum, j) => sum + s[j]! * s[j]!, 0))),
    largest: members.map((block) => s[block[0]!]!),
    s,
    // a partition that cuts everywhere is as unique as its narrowest gap
    gaps: boundaries.length <= blocks ? gaps : [gaps.reduce((least, gap) => Math.min(least, gap))],
    decomposition,
    boundary: boundaries.reduce((least, j) => Math.min(least, s[j]!), Number.POSITIVE_INFINITY),
  };
}

function boundsOf(sizes: readonly number[]): number[] {
  const bounds = [0];
  for (const size of sizes) bounds.push(bounds.at(-1)! + size);
  return bounds;
}

function gather(vectors: Float32Array | Float64Array, order: readonly number[], width: number): Float32Array {
  const to = new Float32Array(order.length * width);
  order.forEach((from, i) => {
    to.set(vectors.subarray(from * width, (from + 1) * width), i * width);
  });
  return to;
}

/**
 * Blocks of equal count of a random orthonormal basis: the eigenvectors of a symmetric matrix of normal numbers, which are uniform among
 * all bases, whatever the signs.
 */
async function randomBasis(options: SpectrumOptions): Promise<Basis> {
  const { device, algebra, plan, layer, projection, blocks, w, rows, columns } = options;
  const wide = rows <= columns;
  const [n, far] = wide ? [rows, columns] : [columns, rows];
  const stream = streamOf(layer, 0, ofProjection('basis', projection));
  const drawn = Float64Array.from(await normals(device, n * n, plan.seed, stream));
  for (let i = 0; i < n; i++) drawn[i * (n + 1)]! *= Math.SQRT2;
  const { vectors } = await algebra.symmetricEig(drawn, { n, ...steps(options, 0, 0.9) });
  const own = Float32Array.from(vectors);
  const bounds = [0, ...evenSplit(n, blocks).map(([, to]) => to)];
  const norms: number[] = [];
  const pace = new Pace();
  const tensors = [device.tensor('f32', [rows, columns]), device.tensor('f32', [n, n])] as const;
  const [wOn, ownOn] = tensors;
  try {
    device.write(wOn, w);
    device.write(ownOn, own);
    for (let b = 0; b < blocks; b++) {
      const count = bounds[b + 1]! - bounds[b]!;
      const product = device.tensor('f32', wide ? [count, far] : [far, count]);
      const block = device.rows(ownOn, bounds[b]!, count);
      if (wide) device.matmul(block, wOn, product);
      else device.matmul(wOn, block, product, { transposeB: true });
      norms.push(frobenius((await device.read(product)) as Float32Array));
      product.dispose();
      await pace.breathe();
      throwIfAborted(options.signal);
    }
  } finally {
    for (const t of tensors) t.dispose();
  }
  const largest = norms.map(() => Number.NaN);
  return { own, bounds, other: null, norms, largest, s: null, gaps: [], decomposition: null };
}

/** sqrt of the sum of squares, in f64. */
export function frobenius(x: Float32Array): number {
  let sum = 0;
  for (const value of x) sum += value * value;
  return Math.sqrt(sum);
}
