/**
 * Which tiles matrix units compute products by, and whether they were found to compute them. No choice of a tile changes a bit: every element of c is summed over k in steps of the units' own, in one order.
 */
import type { GpuContext } from './context.ts';
import type { GpuTraits, Kernel } from './kernel.ts';
import { type MatrixTile, matrixKernel, panelBytes } from './matrix-kernel.ts';
import type { MatrixShape } from './matrix-shape.ts';

/** A tile with its kernels. */
export interface MatrixWay extends MatrixTile {
  /** How much of the rate of the largest tile it reaches. */
  readonly rate: number;
  /** Rows and columns of c. */
  readonly m: number;
  readonly n: number;
  /** Numbers along k of a panel. */
  readonly panel: number;
  /** Where k is whole panels, and where not. */
  readonly whole: Kernel;
  readonly tail: Kernel;
}

/** Rows of x in f16 are so many numbers or a multiple of them, zeros at the end: whole panels of any depth. */
export const HALVES_ALIGN = 64;

/** Of three sizes, by their rates at 8192 on an NVIDIA H200: 184, 130 and 84 TFLOP/s (`npm run bench -- devices --matrix`). */
const TILES: readonly (MatrixTile & { readonly rate: number })[] = [
  { ...{ blocksM: 4, blocksN: 2, subgroupsM: 2, subgroupsN: 4, depth: 4 }, ...base(), rate: 1 },
  { ...{ blocksM: 4, blocksN: 2, subgroupsM: 2, subgroupsN: 2, depth: 2 }, ...base(), rate: 0.71 },
  { ...{ blocksM: 2, blocksN: 2, subgroupsM: 2, subgroupsN: 2, depth: 2 }, ...base(), rate: 0.45 },
];

/** Of both kinds of panel, and no more than it takes to be right. */
const PLAYED: readonly (MatrixTile & { readonly rate: number })[] = [
  { ...{ blocksM: 2, blocksN: 2, subgroupsM: 2, subgroupsN: 1, depth: 2 }, ...base(), rate: 1 },
  { ...{ blocksM: 1, blocksN: 1, subgroupsM: 1, subgroupsN: 2, depth: 1 }, ...base(), double: true, rate: 0.5 },
  { ...{ blocksM: 1, blocksN: 2, subgroupsM: 1, subgroupsN: 1, depth: 2 }, ...base(), turned: true, rate: 0.4 },
];

function base(): Pick<MatrixTile, 'padding' | 'double' | 'vectors' | 'turned' | 'tall'> {
  return { padding: 1, double: false, vectors: true, turned: false, tall: 8 };
}

export class MatrixUnits {
  readonly shape: MatrixShape;
  readonly ways: readonly MatrixWay[];
  /** Under way from the first device on. */
  proof: Promise<void> | null = null;
  /** Whether they computed what they should. */
  proved = false;
  /** Why they are not used. */
  refused: string | null = null;

  /** @param played whether a program plays them, which takes minutes to compile a large tile */
  constructor(shape: MatrixShape, traits: GpuTraits, played: boolean) {
    this.shape = shape;
    this.ways = (played ? PLAYED : TILES).flatMap((tile) => wayOf(shape, tile, traits) ?? []);
    if (this.ways.length === 0) this.refused = 'no tile fits the workgroup memory';
  }

  get description(): string {
    const { m, n, k } = this.shape;
    return this.refused === null ? `f16 by ${m}x${n}x${k}` : `refused: ${this.refused}`;
  }
}

const made = new WeakMap<GpuContext, MatrixUnits>();

/** Of a GPU; null: it has none, or nobody asked for them. */
export function matrixUnitsOf(context: GpuContext): MatrixUnits | null {
  const { matrixShape: shape, traits, facts } = context;
  if (!shape) return null;
  let units = made.get(context);
  if (!units) {
    units = new MatrixUnits(shape, traits, facts.fallback);
    made.set(context, units);
  }
  return units;
}

/** Null where a workgroup is too small for it. */
export function wayOf(
  shape: MatrixShape,
  tile: MatrixTile & { readonly rate: number },
  traits: GpuTraits,
): MatrixWay | null {
  const [m, n] = [shape.m * tile.blocksM * tile.subgroupsM, shape.n * tile.blocksN * tile.subgroupsN];
  const panel = shape.k * tile.depth;
  const threads = tile.subgroupsM * tile.subgroupsN * shape.lanes;
  const panels = panelBytes(shape, tile);
  // as many blocks are put back beside each other as there is room for
  let across = tile.blocksN;
  const bytes = (): number => panels + tile.subgroupsM * tile.subgroupsN * shape.m * ((across * shape.n) / 4 + 1) * 16;
  while (across > 1 && (bytes() > traits.workgroupBytes || tile.blocksN % across !== 0)) across--;
  if (bytes() > traits.workgroupBytes || threads > traits.invocations || HALVES_ALIGN % panel !== 0) return null;
  const kernelFor = (whole: boolean): Kernel => matrixKernel(shape, tile, across, whole);
  return { ...tile, m, n, panel, whole: kernelFor(true), tail: kernelFor(false) };
}
