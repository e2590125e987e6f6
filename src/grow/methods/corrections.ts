import type { Tensor } from '../../device/device.ts';
import { groupsOf } from '../plan/layer-choice.ts';
import { rhoOf } from '../plan/rules.ts';
import type { GrowPlan, Projection, ProjectionRecord } from '../types.ts';
import { type LayerSource, type Maker, shapeOf } from './method.ts';
import { PURPOSE, streamOf } from './noise.ts';
import { Slices } from './slices.ts';

/** One projection that gets corrections. */
interface Corrected {
  readonly slices: Slices;
  /** Standard deviation of the noise of each group, and alpha. */
  readonly sigmas: readonly number[];
  readonly alphas: readonly number[];
  readonly columns: number;
}

/**
 * spri: alpha_g R_g + eps_i in the chosen projections (SPRI, eq. 12), the others copies. scaled-copy: rho W + eps_i, one group of all
 * experts. zero-delta: eps_i alone, which is nothing unless noise is asked for. Where the anchor is folded, W is added.
 *
 * At first the layer computes the dense output and a correction of relative size rho, whatever is placed (`rhoOf`): with a shared anchor by
 * the dense expert beside the routed ones; folded, the same to rounding where down alone is placed, because the weights of the chosen sum
 * to 1 (for gate and up, which are not linear in W, to the order of rho). zero-delta without noise is exact in both.
 */
export class Corrections implements Maker {
  readonly sharedScale = 1;
  readonly #source: LayerSource;
  readonly #corrected: ReadonlyMap<Projection, Corrected>;
  /** The group of each expert. */
  readonly #groups: readonly number[];

  /** @throws as `Slices.make` */
  static async create(source: LayerSource, onProgress?: (fraction: number) => void): Promise<Corrections> {
    const { plan, hidden, intermediate } = source;
    const spectral = plan.method === 'spri';
    // the controls have no blocks: all experts stand in one group
    const bounds = groupsOf(plan.experts, spectral ? plan.groupSize : plan.experts);
    const rho = rhoOf(plan);
    const own: GrowPlan = spectral
      ? { ...plan, rho }
      : { ...plan, rho, partition: 'none', normalise: 'global', shuffle: false };
    const corrected = new Map<Projection, Corrected>();
    try {
      for (const [i, projection] of plan.placement.entries()) {
        const [rows, columns] = shapeOf(projection, hidden, intermediate);
        const slices = await Slices.make({
          ...source,
          plan: own,
          projection,
          blocks: bounds.length - 1,
          w: await source.read(projection),
          rows,
          columns,
          onProgress: onProgress && ((fraction) => onProgress((i + fraction) / plan.placement.length)),
        });
        const entries = rows * columns;
        const sigmas = slices.norms.map((e, g) => {
          if (bounds[g + 1]! - bounds[g]! === 1 && !plan.noiseAll) return 0;
          return sigmaOf(plan, slices.alphas[g]! * e, entries);
        });
        const alphas = plan.method === 'zero-delta' ? sigmas.map(() => 0) : slices.alphas;
        corrected.set(projection, { slices, sigmas, alphas, columns });
      }
    } catch (error) {
      for (const { slices } of corrected.values()) slices.dispose();
      throw error;
    }
    return new Corrections(source, corrected, bounds);
  }

  private constructor(source: LayerSource, corrected: ReadonlyMap<Projection, Corrected>, bounds: readonly number[]) {
    this.#source = source;
    this.#corrected = corrected;
    this.#groups = Array.from({ length: source.plan.experts }, (_, e) => bounds.findIndex((from) => from > e) - 1);
  }

  /** As far as rows have been made. */
  get records(): readonly ProjectionRecord[] {
    return [...this.#corrected.values()].map(({ slices, sigmas, alphas }) => {
      const entries = Math.sqrt(slices.w.shape[0]! * slices.w.shape[1]!);
      const ratios = sigmas.map((sigma, g) => {
        const size = alphas[g]! * slices.norms[g]!;
        return size === 0 ? 0 : (sigma * entries) / size;
      });
      return { ...slices.record, alphas, noiseRatio: Math.max(...ratios) };
    });
  }

  copied(expert: number, projection: Projection): boolean {
    return expert >= this.#source.plan.experts || !this.#corrected.has(projection);
  }

  async make(expert: number, projection: Projection, first: number, to: Tensor): Promise<void> {
    const { device, plan, layer } = this.#source;
    const { slices, sigmas, alphas, columns } = this.#corrected.get(projection)!;
    const g = this.#groups[expert]!;
    const [count] = to.shape as [number];
    const scale = alphas[g]!;
    const slice = scale === 0 ? null : device.rows(await slices.slice(g), first, count);
    device.perturb({
      to,
      anchor: plan.anchor === 'folded' ? device.rows(slices.w, first, count) : null,
      from: slice,
      scale,
      std: sigmas[g]!,
      seed: plan.seed,
      stream: streamOf(layer, expert, PURPOSE[projection]),
      first: first * columns,
    });
  }

  dispose(): void {
    for (const { slices } of this.#corrected.values()) slices.dispose();
  }
}

/** @param size ||alpha R|| @param entries of the matrix */
function sigmaOf({ noise }: GrowPlan, size: number, entries: number): number {
  if (noise.kind === 'none') return 0;
  return noise.kind === 'absolute' ? noise.sigma : (noise.ratio * size) / Math.sqrt(entries);
}
