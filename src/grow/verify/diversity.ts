import { allFinite } from '../../checkpoint/finite.ts';
import type { Tensor } from '../../device/device.ts';
import type { ExactDevice } from '../../device/exact-device.ts';
import { exclusive } from '../../device/exclusive.ts';
import { EspalierError } from '../../errors.ts';
import type { LinearAlgebra } from '../../svd/linear-algebra.ts';
import { branchOf } from '../methods/branch.ts';
import { shapeOf } from '../methods/method.ts';
import { normals, PURPOSE, streamOf } from '../methods/noise.ts';
import { isCorrection } from '../plan/rules.ts';
import type { GrowPlan, LayerRecord, Projection } from '../types.ts';

/** Inputs that experts are compared on. */
export const PROBES = 64;
/** Entries of each projection that are looked at; fewer with many experts. */
const ENTRIES = 1 << 18;
const ENTRIES_OF_ALL = 1 << 22;
/** Neighbouring rows of the sample. */
const RUN = 8;
/** Bytes of the dense matrices that are looked at at a time. */
const PIECE = 4 << 20;

export interface MeasureOptions {
  readonly device: ExactDevice;
  readonly algebra: LinearAlgebra;
  readonly plan: GrowPlan;
  readonly layer: number;
  readonly experts: number;
  readonly hidden: number;
  /** Neurons of the dense feed-forward, and of an expert. */
  readonly intermediate: number;
  readonly size: number;
  /** [experts, hidden] */
  readonly router: Float32Array;
  /** Whether the weights of a token's experts are divided by their sum. */
  readonly renormalise: boolean;
}

/** Rows first .. end - 1. */
type Range = readonly [first: number, end: number];

/** What is kept of one expert, or of the dense feed-forward. */
interface Seen {
  /** Runs of rows of a projection, one after the other. */
  readonly samples: Partial<Record<Projection, Float32Array>>;
  /** What gate and up make of the inputs [neurons, PROBES], until both are there, and then silu(gate) · up of them. */
  readonly inner: Partial<Record<'gate' | 'up' | 'product', Float32Array>>;
}

/**
 * How different the routed experts are and how much they add, measured on their rows as they are written, while they pass by: nothing is
 * kept but runs of rows, spread over the matrix (all of it below 2^18 entries), and what gate and up make of 64 normal inputs.
 *
 * Of corrections those projections are compared that have them, and where they are folded into the dense weights, what they differ from
 * these by; of baselines down. The paper's measure, 1 - mean cosine of pairs, changes when an expert's neurons change places, which changes
 * nothing else. The cosine of the experts' outputs does not. Both are estimates where the sample is not the whole; blocks of the spectrum are
 * orthogonal in every sample of rows, and a cosine has an error of about 2^-9 at 2^18 entries.
 */
export class Measure {
  readonly #options: MeasureOptions;
  readonly #inputs: Float32Array;
  readonly #probe: Tensor;
  readonly #runs: Partial<Record<Projection, readonly Range[]>>;
  /** Projections whose entries are compared. */
  readonly #compared: readonly Projection[];
  readonly #experts: readonly Seen[];
  readonly #dense: Seen = { samples: {}, inner: {} };

  /** @throws E_OUT_OF_MEMORY */
  static async create(options: MeasureOptions): Promise<Measure> {
    const { device, hidden, plan, layer } = options;
    const drawn = await normals(device, PROBES * hidden, plan.seed, streamOf(layer, 0, PURPOSE.probe));
    const probe = device.tensor('f32', [PROBES, hidden]);
    device.write(probe, drawn);
    return new Measure(options, drawn, probe);
  }

  private constructor(options: MeasureOptions, inputs: Float32Array, probe: Tensor) {
    const { plan, experts, hidden, size } = options;
    this.#options = options;
    this.#inputs = inputs;
    this.#probe = probe;
    this.#compared = isCorrection(plan.method) ? plan.placement : ['down'];
    const entries = sampledEntries(experts);
    this.#runs = Object.fromEntries(
      [...new Set<Projection>([...this.#compared, 'down'])].map((projection) => {
        const [rows, columns] = shapeOf(projection, hidden, size);
        return [projection, spread(rows, Math.ceil(entries / columns))];
      }),
    );
    this.#experts = Array.from({ length: experts }, () => ({ samples: {}, inner: {} }));
  }

  /** Looks at rows of an expert, from row `first` on. @param values f32, f16 or bf16 [count, columns] */
  take(expert: number, projection: Projection, first: number, values: Tensor): Promise<void> {
    const { device, hidden, size } = this.#options;
    return exclusive(device, () =>
      this.#take(this.#experts[expert]!, projection, first, values, shapeOf(projection, hidden, size)),
    );
  }

  async #take(
    seen: Seen,
    projection: Projection,
    first: number,
    values: Tensor,
    [rows]: readonly [rows: number, columns: number],
  ): Promise<void> {
    const { device } = this.#options;
    const [count, columns] = values.shape as [number, number];
    const mark = device.mark();
    const runs = this.#runs[projection] ?? [];
    let at = 0;
    for (const [from, end] of runs) {
      const start = Math.max(from, first);
      const stop = Math.min(end, first + count);
      if (start < stop) {
        const some = device.scratch('f32', [stop - start, columns]);
        device.cast(device.rows(values, start - first, stop - start), some);
        const read = (await device.read(some)) as Float32Array;
        seen.samples[projection] ??= new Float32Array(lengthOf(runs) * columns);
        seen.samples[projection].set(read, (at + start - from) * columns);
      }
      at += end - from;
    }
    if (projection !== 'down') {
      const exact = values.type === 'f32' ? values : device.scratch('f32', [count, columns]);
      const out = device.scratch('f32', [count, PROBES]);
      if (exact !== values) device.cast(values, exact);
      device.matmul(exact, this.#probe, out, { transposeB: true });
      const read = (await device.read(out)) as Float32Array;
      seen.inner[projection] ??= new Float32Array(rows * PROBES);
      seen.inner[projection].set(read, first * PROBES);
    }
    device.reset(mark);
  }

  /** The dense matrix, of which `copies` have a copy. */
  async takeDense(copies: readonly number[], projection: Projection, w: Float32Array): Promise<void> {
    const { device, hidden, intermediate } = this.#options;
    const shape = shapeOf(projection, hidden, intermediate);
    const [rows, columns] = shape;
    const step = Math.min(rows, Math.max(1, Math.floor(PIECE / (4 * columns))));
    const piece = device.tensor('f32', [step, columns]);
    try {
      for (let first = 0; first < rows; first += step) {
        const some = device.rows(piece, 0, Math.min(step, rows - first));
        device.write(some, w.subarray(first * columns, (first + step) * columns));
        await exclusive(device, () => this.#take(this.#dense, projection, first, some, shape));
      }
    } finally {
      piece.dispose();
    }
    const { samples, inner } = this.#dense;
    for (const e of copies) {
      const expert = this.#experts[e]!;
      if (samples[projection]) expert.samples[projection] = samples[projection];
      if (projection !== 'down') expert.inner[projection] = inner[projection]!;
    }
  }

  /** When the last row of an expert has been seen: what gate and up gave becomes one. */
  async combine(expert: number): Promise<void> {
    const { inner } = this.#experts[expert]!;
    const dense = this.#dense.inner;
    if (inner.product || !inner.gate || !inner.up) return;
    if (dense.product && inner.gate === dense.gate && inner.up === dense.up) inner.product = dense.product;
    else inner.product = await this.#product(inner.gate, inner.up);
    delete inner.gate;
    delete inner.up;
  }

  #product(gate: Float32Array, up: Float32Array): Promise<Float32Array> {
    const { device } = this.#options;
    return exclusive(device, async () => {
      const mark = device.mark();
      const shape = [gate.length / PROBES, PROBES];
      const [g, u] = [device.scratch('f32', shape), device.scratch('f32', shape)];
      device.write(g, gate);
      device.write(u, up);
      device.gatedActivation('silu', g, u, g);
      const read = (await device.read(g)) as Float32Array;
      device.reset(mark);
      return read;
    });
  }

  /**
   * When every expert's rows and the dense matrices have been seen.
   * @param sharedScale what the shared expert is multiplied by; 0: there is none
   * @throws E_TENSOR_VALUE where the feed-forward overflows or gives nothing, or nothing is left of the corrections
   */
  async finish(sharedScale: number): Promise<Omit<LayerRecord, 'layer' | 'projections'>> {
    const { experts, plan, layer } = this.#options;
    const { inner } = this.#dense;
    inner.product = await this.#product(inner.gate!, inner.up!);
    const dense = await this.#output(this.#dense);
    const outputs: Float32Array[] = [];
    for (let e = 0; e < experts; e++) {
      await this.combine(e);
      outputs.push(await this.#output(this.#experts[e]!));
    }
    if (![dense, ...outputs].every(allFinite)) {
      throw unusable(`The feed-forward of layer ${layer} overflows f32 on random inputs.`, 'Look at its weights.');
    }
    if (dense.every((x) => x === 0)) {
      throw unusable(
        `The feed-forward of layer ${layer} gives zero for every input.`,
        'Leave this layer out (`layers`).',
      );
    }
    const folded = plan.anchor === 'folded';
    const own = folded ? outputs.map((out) => out.map((x, i) => x - dense[i]!)) : outputs;
    const asked =
      plan.method === 'spri' || plan.method === 'scaled-copy' ? plan.rho > 0 || plan.normalise === 'none' : false;
    if (asked && own.slice(0, plan.experts).every((out) => out.every((x) => x === 0))) {
      throw unusable(
        `Rounding has left nothing of the corrections in layer ${layer}.`,
        'Use a larger rho, or an output type (`dtype`) of more digits.',
      );
    }
    let diversity = 0;
    for (const projection of this.#compared) {
      const from = this.#dense.samples[projection]!;
      const list = this.#experts.map(({ samples }) => samples[projection]!);
      const parts = folded ? list.map((sample) => sample.map((x, i) => x - from[i]!)) : list;
      diversity += (await this.#diversity(parts)) / this.#compared.length;
    }
    return {
      diversity,
      outputDiversity: await this.#diversity(own),
      diversityOf: isCorrection(plan.method) ? 'corrections' : 'down',
      ...branchOf({ ...this.#options, inputs: this.#inputs, dense, outputs, sharedScale }),
    };
  }

  async #diversity(parts: readonly Float32Array[]): Promise<number> {
    const rows = parts.length;
    const columns = parts[0]!.length;
    const all = new Float32Array(rows * columns);
    for (const [i, part] of parts.entries()) all.set(part, i * columns);
    return 1 - meanCosine(await this.#options.algebra.gram(all, { rows, columns, side: 'left' }), rows);
  }

  /** What runs of rows of down make of the inputs [rows, PROBES]. */
  #output({ samples, inner }: Seen): Promise<Float32Array> {
    const { device } = this.#options;
    return exclusive(device, async () => {
      const mark = device.mark();
      const write = (shape: readonly [number, number], values: Float32Array): Tensor => {
        const t = device.scratch('f32', shape);
        device.write(t, values);
        return t;
      };
      const product = inner.product!;
      const neurons = product.length / PROBES;
      const rows = samples.down!.length / neurons;
      const out = device.scratch('f32', [rows, PROBES]);
      device.matmul(write([rows, neurons], samples.down!), write([neurons, PROBES], product), out);
      const read = (await device.read(out)) as Float32Array;
      device.reset(mark);
      return read;
    });
  }

  dispose(): void {
    this.#probe.dispose();
  }
}

/** Entries of an expert's projection that are kept, about. */
export function sampledEntries(experts: number): number {
  return Math.min(ENTRIES, ENTRIES_OF_ALL / experts);
}

function lengthOf(runs: readonly Range[]): number {
  return runs.reduce((sum, [from, end]) => sum + end - from, 0);
}

function unusable(message: string, hint: string): EspalierError {
  return new EspalierError('E_TENSOR_VALUE', message, hint);
}

/** Mean cosine of pairs from their inner products [n, n]; two zeros are alike, zero and another are not. */
export function meanCosine(gram: Float64Array, n: number): number {
  let sum = 0;
  for (let i = 0; i < n; i++) {
    for (let j = i + 1; j < n; j++) {
      const lengths = Math.sqrt(gram[i * (n + 1)]!) * Math.sqrt(gram[j * (n + 1)]!);
      const alike = gram[i * (n + 1)] === 0 && gram[j * (n + 1)] === 0 ? 1 : 0;
      sum += lengths === 0 ? alike : gram[i * n + j]! / lengths;
    }
  }
  return sum / ((n * (n - 1)) / 2);
}

/** Runs of rows, at least `wanted` in all, evenly over `rows`. */
export function spread(rows: number, wanted: number): Range[] {
  const all = Math.ceil(rows / RUN);
  const runs = Math.min(all, Math.ceil(wanted / RUN));
  return Array.from({ length: runs }, (_, i) => {
    const from = RUN * Math.floor((i * all) / runs);
    return [from, Math.min(rows, from + RUN)];
  });
}
