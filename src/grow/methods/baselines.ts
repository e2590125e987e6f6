import type { Tensor } from '../../device/device.ts';
import { expertSizes } from '../plan/layer-choice.ts';
import type { GrowPlan, Projection, ProjectionRecord } from '../types.ts';
import type { LayerSource, Maker } from './method.ts';
import { normals, ofProjection, PURPOSE, permutation, streamOf } from './noise.ts';
import { cubeRoot } from './roots.ts';

/** What one expert gets of one projection. */
interface Part {
  /** Which neuron of the dense feed-forward each of the expert's neurons is [size]; null: the same one. */
  readonly from: Int32Array | null;
  readonly scale: number;
  /** Neurons of the expert that change [size], 1 where one does; null: none. */
  readonly changed: Uint8Array | null;
  /** A changed entry becomes `mean` + `std` · normal, and `keep` of it stays. */
  readonly keep: boolean;
  readonly mean: number;
  readonly std: number;
}

/**
 * The baselines, made of the dense neurons (rows of gate and up, columns of down):
 *
 * - naive (sparse growing, Komatsuzaki et al. 2022): copies.
 * - noise (as in the released Drop-Upcycling scripts): a share `ratio` of neurons gets N(0, sigma) added, chosen apart for each of the three
 *   matrices; with `permute` each expert has its neurons in another order, which alone changes nothing.
 * - drop (Nakamura et al. 2025): a share `ratio` is drawn anew with mean and deviation of what it replaces. `permute`: as released, in
 *   another order and chosen apart for each matrix; else as written in the paper, the same neurons in all three.
 * - virtual-group (He et al. 2024, Megatron): `granularity` g shards, each repeated E / g times, in the order 0 … g-1, 0 … g-1, …; the shards
 *   of one copy share a row of the router. A = g where weights sum to 1: as published, its cube root on each of the three matrices, which
 *   is not exact with silu; to preserve the function, all of it on down.
 * - split (LLaMA-MoE, Zhu et al. 2024): E disjoint random sets of neurons; as published E / k on down.
 *
 * `preserve: function-preserving` halves both branches where the anchor is shared, which is exact for naive and virtual-group (and where
 * noise and drop change nothing); without a shared expert naive is exact as published. What noise and drop change, and the neurons that split
 * leaves out, no scale brings back: `checkPreserved` refuses them, and `preserve: scaled` halves them all the same.
 */
export class Baseline implements Maker {
  readonly sharedScale: number;
  readonly records: readonly ProjectionRecord[] = [];
  readonly #source: LayerSource;
  /** Read when first needed; all three for noise and drop. */
  readonly #dense = new Map<Projection, Float32Array>();
  readonly #size: number;
  readonly #cache = new Map<string, Part>();
  readonly #routedScale: number;

  constructor(source: LayerSource) {
    const { plan, intermediate } = source;
    this.#source = source;
    this.#size = expertSizes(plan, intermediate).expertSize;
    const halved = plan.preserve !== 'as-published' && plan.anchor === 'shared';
    this.sharedScale = halved ? 0.5 : 1;
    this.#routedScale = this.sharedScale;
  }

  copied(expert: number, projection: Projection): boolean {
    const { plan } = this.#source;
    if (expert >= plan.experts) return true;
    if (plan.method !== 'naive') return false;
    return projection !== 'down' || this.#routedScale === 1;
  }

  async make(expert: number, projection: Projection, first: number, to: Tensor): Promise<void> {
    const { device, plan, layer, hidden, intermediate } = this.#source;
    const w = await this.#matrix(projection);
    const part = this.#part(expert, projection, w);
    const [count, columns] = to.shape as [number, number];
    const down = projection === 'down';
    const stream = streamOf(layer, expert, PURPOSE[projection]);
    const drawn =
      part.changed === null ? null : await normals(device, count * columns, plan.seed, stream, first * columns);
    const values = new Float32Array(count * columns);
    for (let i = 0; i < count; i++) {
      const row = down ? first + i : (part.from?.[first + i] ?? first + i);
      for (let j = 0; j < columns; j++) {
        const at = i * columns + j;
        const neuron = down ? j : first + i;
        const column = down ? (part.from?.[j] ?? j) : j;
        let x = w[row * (down ? intermediate : hidden) + column]!;
        // each step rounded to f32, as on the device
        if (part.changed?.[neuron]) {
          const fresh = Math.fround(Math.fround(part.std * drawn![at]!) + part.mean);
          x = part.keep ? Math.fround(x + fresh) : fresh;
        }
        values[at] = x;
      }
    }
    const exact = device.tensor('f32', [count, columns]);
    try {
      device.write(exact, values);
      device.perturb({ to, from: exact, scale: part.scale });
    } finally {
      exact.dispose();
    }
  }

  dispose(): void {
    this.#dense.clear();
    this.#cache.clear();
  }

  async #matrix(projection: Projection): Promise<Float32Array> {
    const known = this.#dense.get(projection);
    if (known) return known;
    const read = await this.#source.read(projection);
    this.#dense.set(projection, read);
    return read;
  }

  #part(expert: number, projection: Projection, w: Float32Array): Part {
    const key = `${expert} ${projection}`;
    const known = this.#cache.get(key);
    if (known) return known;
    const part = this.#decide(expert, projection, w);
    this.#cache.clear();
    this.#cache.set(key, part);
    return part;
  }

  #decide(expert: number, projection: Projection, w: Float32Array): Part {
    const { plan, layer, hidden, intermediate: m } = this.#source;
    const { method, seed, experts } = plan;
    const size = this.#size;
    const half = projection === 'down' ? this.#routedScale : 1;
    const plain: Part = { from: null, scale: half, changed: null, keep: true, mean: 0, std: 0 };
    switch (method) {
      case 'naive':
        return plain;
      case 'noise':
        return { ...plain, ...this.#chosen(expert, projection), std: plan.sigma };
      case 'drop': {
        const { from, changed } = this.#chosen(expert, projection);
        return { ...plain, from, changed, keep: false, ...statistics(w, changed, from, projection, hidden) };
      }
      case 'virtual-group': {
        const shard = expert % plan.granularity;
        const from = Int32Array.from({ length: size }, (_, i) => shard * size + i);
        return { ...plain, from, scale: half * groupScale(plan, projection) };
      }
      case 'split': {
        const all = permutation(m, seed, streamOf(layer, 0, PURPOSE.split));
        const from = all.slice(expert * size, (expert + 1) * size).sort();
        return { ...plain, from, scale: projection === 'down' ? experts / plan.topK : 1 };
      }
      case 'spri':
      case 'scaled-copy':
      case 'zero-delta':
        throw new Error(`${method} makes corrections`);
      default:
        throw method satisfies never;
    }
  }

  /** noise, drop: the order of an expert's neurons, and which of them change. */
  #chosen(expert: number, projection: Projection): { readonly from: Int32Array | null; readonly changed: Uint8Array } {
    const { plan, layer, intermediate: m } = this.#source;
    const { method, seed, permute, ratio } = plan;
    const from = permute ? permutation(m, seed, streamOf(layer, expert, PURPOSE.permutation)) : null;
    const together = method === 'drop' && !permute;
    const purpose = together ? PURPOSE.choice : ofProjection('choice', projection);
    const order = permutation(m, seed, streamOf(layer, expert, purpose));
    const changed = new Uint8Array(m);
    for (const neuron of order.subarray(0, Math.round(ratio * m))) changed[neuron] = 1;
    return { from, changed };
  }
}

/** Mean and standard deviation of the entries of the neurons that change, in f64. */
function statistics(
  w: Float32Array,
  changed: Uint8Array,
  from: Int32Array | null,
  projection: Projection,
  hidden: number,
): { mean: number; std: number } {
  const m = changed.length;
  const [row, step] = projection === 'down' ? [1, m] : [hidden, 1];
  let count = 0;
  let sum = 0;
  let squares = 0;
  changed.forEach((is, neuron) => {
    if (!is) return;
    const at = (from?.[neuron] ?? neuron) * row;
    for (let i = 0; i < hidden; i++) {
      const x = w[at + i * step]!;
      sum += x;
      squares += x * x;
      count++;
    }
  });
  if (count === 0) return { mean: 0, std: 0 };
  const mean = sum / count;
  return { mean, std: Math.sqrt(Math.max(0, squares / count - mean * mean)) };
}

function groupScale({ preserve, granularity }: GrowPlan, projection: Projection): number {
  if (preserve !== 'as-published') return projection === 'down' ? granularity : 1;
  return cubeRoot(granularity);
}
