import { shuffled } from '../../datasets/splits.ts';
import { throwIfAborted } from '../../errors.ts';
import { Pace } from '../../runtime/host/yielding.ts';
import { type Points, squaredDistance } from './points.ts';

/** Most points whose distances are compared, all with all. */
const MOST = 2000;
const STREAM = 113;

/** Distances of points, for silhouettes of several clusterings of them. */
export class Silhouettes {
  /** Which points: all, or a sample of many. */
  readonly #chosen: Uint32Array;
  /** [chosen, chosen] */
  readonly #distances: Float64Array;

  private constructor(chosen: Uint32Array, distances: Float64Array) {
    this.#chosen = chosen;
    this.#distances = distances;
  }

  /** @param seed of the sample, of more than 2000 points. @throws E_ABORTED */
  static async of(points: Points, seed: number, signal?: AbortSignal): Promise<Silhouettes> {
    const { values, count, width } = points;
    const all = Array.from({ length: count }, (_, i) => i);
    const chosen = Uint32Array.from(count <= MOST ? all : shuffled(all, seed, STREAM).slice(0, MOST));
    const n = chosen.length;
    const distances = new Float64Array(n * n);
    const pace = new Pace();
    for (let i = 0; i < n; i++) {
      await pace.breathe();
      throwIfAborted(signal);
      for (let j = 0; j < i; j++) {
        const distance = Math.sqrt(squaredDistance(values, chosen[i]! * width, values, chosen[j]! * width, width));
        distances[i * n + j] = distance;
        distances[j * n + i] = distance;
      }
    }
    return new Silhouettes(chosen, distances);
  }

  /** Points that are compared. */
  get points(): number {
    return this.#chosen.length;
  }

  /**
   * The mean silhouette (Rousseeuw 1987) over points: (b - a) / max(a, b), a the mean distance to the others of a point's cluster, b to those of
   * the nearest other; 0 of a point that is alone. Null where fewer than two clusters have points.
   */
  mean(assignments: ArrayLike<number>, clusters: number): number | null {
    const n = this.#chosen.length;
    const own = Array.from(this.#chosen, (point) => assignments[point]!);
    const sizes = new Array<number>(clusters).fill(0);
    for (const cluster of own) sizes[cluster]!++;
    if (sizes.filter((size) => size > 0).length < 2) return null;
    let total = 0;
    const sums = new Float64Array(clusters);
    for (let i = 0; i < n; i++) {
      if (sizes[own[i]!] === 1) continue;
      sums.fill(0);
      for (let j = 0; j < n; j++) sums[own[j]!]! += this.#distances[i * n + j]!;
      let b = Number.POSITIVE_INFINITY;
      for (let c = 0; c < clusters; c++) if (c !== own[i] && sizes[c]! > 0) b = Math.min(b, sums[c]! / sizes[c]!);
      const a = sums[own[i]!]! / (sizes[own[i]!]! - 1);
      // points that lie on one another in two clusters belong to neither
      total += a === b ? 0 : (b - a) / Math.max(a, b);
    }
    return total / n;
  }
}
