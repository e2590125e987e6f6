import type { Device, Tensor } from '../device/device.ts';
import { exclusive } from '../device/exclusive.ts';
import type { LinearAlgebra } from '../svd/linear-algebra.ts';
import { shapeOf } from './maker.ts';
import { normals, PURPOSE, streamOf } from './noise.ts';
import type { Projection } from './types.ts';

/** Inputs that experts are compared on. */
const PROBES = 64;
/** Entries of each down projection that are looked at; fewer with many experts. */
const ENTRIES = 1 << 18;
const ENTRIES_OF_ALL = 1 << 22;
/** Neighbouring rows of the sample. */
const RUN = 8;

export interface MeasureOptions {
  readonly device: Device;
  readonly algebra: LinearAlgebra;
  readonly seed: number;
  readonly layer: number;
  readonly experts: number;
  readonly hidden: number;
  /** Neurons of an expert. */
  readonly size: number;
}

/** Rows first .. end - 1. */
type Range = readonly [first: number, end: number];

/**
 * How different the routed experts are, measured on their rows as they are written, while they pass by: nothing is kept but runs of rows of
 * down, spread over the matrix (all of it below 2^18 entries), and what gate and up make of 64 normal inputs.
 *
 * The paper's measure, 1 - mean cosine of pairs of down projections, changes when an expert's neurons change places, which changes nothing
 * else. The cosine of the experts' outputs does not. Both are estimates where the sample is not the whole; blocks of the spectrum are
 * orthogonal in every sample of rows, and a cosine has an error of about 2^-9 at 2^18 entries.
 */
export class Measure {
  readonly #options: MeasureOptions;
  readonly #probe: Tensor;
  readonly #runs: readonly Range[];
  readonly #samples: (Float32Array | null)[];
  /** What gate and up make of the inputs [size, PROBES], of each expert; the last is that of the dense ones. */
  readonly #inner: Readonly<Record<'gate' | 'up', (Float32Array | null)[]>>;

  /** @throws E_OUT_OF_MEMORY */
  static async create(options: MeasureOptions): Promise<Measure> {
    const { device, hidden, seed, layer } = options;
    const drawn = await normals(device, PROBES * hidden, seed, streamOf(layer, 0, PURPOSE.probe));
    const probe = device.tensor('f32', [PROBES, hidden]);
    device.write(probe, drawn);
    return new Measure(options, probe);
  }

  private constructor(options: MeasureOptions, probe: Tensor) {
    const { experts, hidden, size } = options;
    this.#options = options;
    this.#probe = probe;
    this.#runs = spread(hidden, Math.ceil(Math.min(ENTRIES, ENTRIES_OF_ALL / experts) / size));
    this.#samples = Array.from({ length: experts }, () => null);
    this.#inner = {
      gate: Array.from({ length: experts }, () => null),
      up: Array.from({ length: experts }, () => null),
    };
  }

  /** Looks at rows of an expert, from row `first` on. @param values f32, f16 or bf16 [count, columns] */
  take(experts: readonly number[], projection: Projection, first: number, values: Tensor): Promise<void> {
    return exclusive(this.#options.device, () => this.#take(experts, projection, first, values));
  }

  async #take(experts: readonly number[], projection: Projection, first: number, values: Tensor): Promise<void> {
    const { device } = this.#options;
    const [count, columns] = values.shape as [number, number];
    const mark = device.mark();
    if (projection === 'down') {
      let at = 0;
      for (const [from, end] of this.#runs) {
        const start = Math.max(from, first);
        const stop = Math.min(end, first + count);
        if (start < stop) {
          const rows = device.scratch('f32', [stop - start, columns]);
          device.cast(device.rows(values, start - first, stop - start), rows);
          const read = (await device.read(rows)) as Float32Array;
          for (const e of experts) this.#sample(e).set(read, (at + start - from) * columns);
        }
        at += end - from;
      }
    } else {
      const exact = values.type === 'f32' ? values : device.scratch('f32', [count, columns]);
      const out = device.scratch('f32', [count, PROBES]);
      if (exact !== values) device.cast(values, exact);
      device.matmul(exact, this.#probe, out, { transposeB: true });
      const read = (await device.read(out)) as Float32Array;
      for (const e of experts) {
        this.#inner[projection][e] ??= new Float32Array(this.#options.size * PROBES);
        this.#inner[projection][e]!.set(read, first * PROBES);
      }
    }
    device.reset(mark);
  }

  /** The dense matrix, for experts that are copies of it. */
  async takeCopy(experts: readonly number[], projection: Projection, w: Float32Array): Promise<void> {
    const { device, hidden, size } = this.#options;
    const on = device.tensor('f32', shapeOf(projection, hidden, size));
    try {
      device.write(on, w);
      await this.take(experts, projection, 0, on);
    } finally {
      on.dispose();
    }
  }

  /** When every expert's rows have been seen. */
  async finish(): Promise<{ diversity: number; outputDiversity: number }> {
    const { device, algebra, experts } = this.#options;
    const { samples, outputs } = await exclusive(device, () => this.#outputs());
    const of = async (x: Float32Array) => {
      const gram = await algebra.gram(x, { rows: experts, columns: x.length / experts, side: 'left' });
      return 1 - meanCosine(gram, experts);
    };
    return { diversity: await of(samples), outputDiversity: await of(outputs) };
  }

  async #outputs(): Promise<{ samples: Float32Array; outputs: Float32Array }> {
    const { device, experts, size } = this.#options;
    const rows = this.#runs.reduce((sum, [from, end]) => sum + end - from, 0);
    const samples = new Float32Array(experts * rows * size);
    const outputs = new Float32Array(experts * rows * PROBES);
    for (let e = 0; e < experts; e++) {
      const mark = device.mark();
      const write = (shape: readonly [number, number], values: Float32Array): Tensor => {
        const t = device.scratch('f32', shape);
        device.write(t, values);
        return t;
      };
      const sample = this.#sample(e);
      samples.set(sample, e * sample.length);
      const inner = write([size, PROBES], this.#inner.gate[e]!);
      device.siluMultiply(inner, write([size, PROBES], this.#inner.up[e]!), inner);
      const out = device.scratch('f32', [rows, PROBES]);
      device.matmul(write([rows, size], sample), inner, out);
      outputs.set((await device.read(out)) as Float32Array, e * rows * PROBES);
      device.reset(mark);
    }
    return { samples, outputs };
  }

  dispose(): void {
    this.#probe.dispose();
  }

  #sample(expert: number): Float32Array {
    const rows = this.#runs.reduce((sum, [from, end]) => sum + end - from, 0);
    return (this.#samples[expert] ??= new Float32Array(rows * this.#options.size));
  }
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
