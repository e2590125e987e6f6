import { EspalierError, throwIfAborted } from '../../errors.ts';
import { uniform } from '../../random.ts';
import { Pace } from '../../runtime/host/yielding.ts';
import { type Points, squaredDistance } from './points.ts';

/** Tells draws of first centres from others with the same seed. */
const STREAM = 112;
/** Rounds of one start; it is over long before, when no point moves. */
const ROUNDS = 300;

export interface Clustering {
  /** Clusters. None is empty. */
  readonly count: number;
  /** [points], clusters numbered in the order of their first points. */
  readonly assignments: Uint32Array;
  /** [count, width], the means. */
  readonly centres: Float64Array;
  readonly sizes: readonly number[];
  /** Sum of squared distances to the means. */
  readonly inertia: number;
}

export interface KMeansOptions {
  readonly seed: number;
  /** Starts, of which the one with the least inertia counts. */
  readonly restarts: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Lloyd's algorithm from centres that are drawn as k-means++ does it (Arthur and Vassilvitskii 2007). A cluster that loses its last point gets
 * the one that is farthest from its centre. Sums and square differences alone, in one order: the same bits in every runtime.
 * @param count from 1 to the number of different points
 * @throws E_ARGUMENT where fewer points are different, E_ABORTED
 */
export async function kMeans(points: Points, count: number, options: KMeansOptions): Promise<Clustering> {
  const pace = new Pace();
  const breathe = async (): Promise<void> => {
    await pace.breathe();
    throwIfAborted(options.signal);
  };
  let best: Lloyd | null = null;
  for (let restart = 0; restart < (count === 1 ? 1 : options.restarts); restart++) {
    const run = new Lloyd(points, count, (draw) =>
      // a draw of its own for each count, start and centre
      uniform(options.seed, (count * 2 ** 20 + restart) * 2 ** 12 + draw, STREAM),
    );
    await run.start(breathe);
    for (let round = 0; round < ROUNDS && run.round(); round++) await breathe();
    run.measure();
    if (best === null || run.inertia < best.inertia) best = run;
  }
  return best!.clustering();
}

/** Most clusters, so that draws of different starts are different. */
export const MOST_CLUSTERS = 2 ** 12;

class Lloyd {
  readonly #points: Points;
  readonly #count: number;
  readonly #draw: (draw: number) => number;
  readonly #centres: Float64Array;
  readonly #assignments: Uint32Array;
  /** Squared, to the centre that each point is assigned to. */
  readonly #distances: Float64Array;

  constructor(points: Points, count: number, draw: (draw: number) => number) {
    this.#points = points;
    this.#count = count;
    this.#draw = draw;
    this.#centres = new Float64Array(count * points.width);
    this.#assignments = new Uint32Array(points.count).fill(count);
    this.#distances = new Float64Array(points.count).fill(Number.POSITIVE_INFINITY);
  }

  get inertia(): number {
    return this.#distances.reduce((sum, distance) => sum + distance, 0);
  }

  /** Draws points as centres: each with a chance like its squared distance from those before. @throws E_ARGUMENT */
  async start(breathe: () => Promise<void>): Promise<void> {
    const { values, count, width } = this.#points;
    const nearest = this.#distances;
    for (let c = 0; c < this.#count; c++) {
      await breathe();
      const u = this.#draw(c);
      const chosen = c === 0 ? Math.floor(u * count) : chosenBy(nearest, u);
      if (chosen === null) {
        throw new EspalierError(
          'E_ARGUMENT',
          `There are ${c} different vectors, too few for ${this.#count} clusters.`,
          `Ask for at most ${c}.`,
        );
      }
      const from = chosen * width;
      this.#centres.set(values.subarray(from, from + width), c * width);
      for (let i = 0; i < count; i++) {
        nearest[i] = Math.min(nearest[i]!, squaredDistance(values, i * width, values, from, width));
      }
    }
  }

  /** Assigns points and moves centres. @returns whether any point moved */
  round(): boolean {
    const { values, count, width } = this.#points;
    const sizes = new Uint32Array(this.#count);
    let moved = false;
    for (let i = 0; i < count; i++) {
      let [own, least] = [0, Number.POSITIVE_INFINITY];
      for (let c = 0; c < this.#count; c++) {
        const distance = squaredDistance(values, i * width, this.#centres, c * width, width);
        if (distance < least) [own, least] = [c, distance];
      }
      if (this.#assignments[i] !== own) moved = true;
      this.#assignments[i] = own;
      this.#distances[i] = least;
      sizes[own]!++;
    }
    for (let c = 0; c < this.#count; c++) if (sizes[c] === 0) moved = this.#refill(c, sizes) || moved;
    this.#centres.fill(0);
    for (let i = 0; i < count; i++) {
      const at = this.#assignments[i]! * width;
      for (let k = 0; k < width; k++) this.#centres[at + k]! += values[i * width + k]!;
    }
    for (let j = 0; j < this.#centres.length; j++) this.#centres[j]! /= sizes[Math.floor(j / width)]!;
    return moved;
  }

  /** Distances to the means, in place of those to the centres that points were assigned by. */
  measure(): void {
    const { values, count, width } = this.#points;
    for (let i = 0; i < count; i++) {
      this.#distances[i] = squaredDistance(values, i * width, this.#centres, this.#assignments[i]! * width, width);
    }
  }

  /** Gives an empty cluster the point that is farthest from its centre, of those that are not alone. */
  #refill(cluster: number, sizes: Uint32Array): boolean {
    let farthest = -1;
    for (const [i, distance] of this.#distances.entries()) {
      if (sizes[this.#assignments[i]!]! < 2) continue;
      if (farthest < 0 || distance > this.#distances[farthest]!) farthest = i;
    }
    if (farthest < 0) return false;
    sizes[this.#assignments[farthest]!]!--;
    sizes[cluster] = 1;
    this.#assignments[farthest] = cluster;
    this.#distances[farthest] = 0;
    return true;
  }

  clustering(): Clustering {
    const { count, width } = this.#points;
    const number = new Map<number, number>();
    const assignments = this.#assignments.map((own) => {
      if (!number.has(own)) number.set(own, number.size);
      return number.get(own)!;
    });
    const centres = new Float64Array(this.#count * width);
    for (const [own, c] of number) centres.set(this.#centres.subarray(own * width, (own + 1) * width), c * width);
    const sizes = new Array<number>(this.#count).fill(0);
    for (let i = 0; i < count; i++) sizes[assignments[i]!]!++;
    return { count: this.#count, assignments, centres, sizes, inertia: this.inertia };
  }
}

/** The first whose weight, added to those before, is above this share of all; null: all weights are 0. */
function chosenBy(weights: Float64Array, share: number): number | null {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  if (total === 0) return null;
  let sum = 0;
  let last = 0;
  for (const [i, weight] of weights.entries()) {
    if (weight === 0) continue;
    sum += weight;
    last = i;
    if (sum > share * total) return i;
  }
  // what rounding leaves
  return last;
}
