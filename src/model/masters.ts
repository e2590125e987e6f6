import type { Device, Tensor, WeightSource } from '../device/device.ts';
import type { TrainDevice } from '../device/train-device.ts';
import type { WeightLoader } from './weights.ts';

/** Rows that are unpacked together. */
const ROWS = 1024;

/** A weight as it is trained: numbers in f32, and for matrices the panels that products read. */
export interface Master {
  /** Canonical, as in a checkpoint; a stack of experts has their common name, without a number. */
  readonly name: string;
  /** [n], [N, K] or [E, N, K] */
  readonly shape: readonly number[];
  readonly value: Tensor;
  /** What layers compute with, in f32; null where that is `value` itself. */
  readonly packed: Tensor | null;
}

/**
 * Loads what may be trained as a master and f32 panels, whatever it is stored as, and the rest as it is stored. Norms have the weight that is
 * multiplied by, which Gemma stores less 1.
 */
export class MasterLoader implements WeightLoader {
  /** In the order of loading. */
  readonly masters: Master[] = [];
  readonly #device: TrainDevice;
  readonly #wanted: (name: string) => boolean;

  constructor(device: TrainDevice, wanted: (name: string) => boolean) {
    this.#device = device;
    this.#wanted = wanted;
  }

  async loadVector(source: WeightSource): Promise<Tensor> {
    const value = await this.#device.loadVector(source);
    // what only chooses experts has no gradient
    if (this.#wanted(source.name) && !source.name.endsWith('e_score_correction_bias')) {
      this.masters.push({ name: source.name, shape: value.shape, value, packed: null });
    }
    return value;
  }

  async loadMatrix(source: WeightSource): Promise<Tensor> {
    const stored = await this.#device.loadMatrix(source);
    return this.#wanted(source.name) ? this.#master(source.name, stored, [source]) : stored;
  }

  async loadMatrices(sources: readonly WeightSource[]): Promise<Tensor> {
    const name = stackName(sources[0]!.name);
    const stored = await this.#device.loadMatrices(sources);
    return this.#wanted(name) ? this.#master(name, stored, sources) : stored;
  }

  /** Frees the masters of matrices; panels and vectors are those of the weights. */
  dispose(): void {
    for (const { value, packed } of this.masters) if (packed) value.dispose();
  }

  async #master(name: string, stored: Tensor, sources: readonly WeightSource[]): Promise<Tensor> {
    const device = this.#device;
    const made = [stored];
    try {
      const value = device.tensor('f32', stored.shape);
      made.push(value);
      unpack(device, stored, value);
      let packed = stored;
      if (stored.type !== 'f32') {
        stored.dispose();
        const blank = sources.map(
          (source): WeightSource => ({
            ...{ name, rows: source.rows, columns: source.columns, type: 'f32', order: null, orderGroup: 1 },
            read: async (_, target) => void target.fill(0),
          }),
        );
        packed = await (stored.shape.length === 3 ? device.loadMatrices(blank) : device.loadMatrix(blank[0]!));
        made.push(packed);
        device.pack(value, packed);
      }
      this.masters.push({ name, shape: stored.shape, value, packed });
      return packed;
    } catch (error) {
      for (const tensor of made) tensor.dispose();
      throw error;
    }
  }
}

/** `model.layers.0.mlp.experts.gate_proj.weight` of that of one of the experts. */
function stackName(name: string): string {
  return name.replace(/\.experts\.\d+\./, '.experts.');
}

/** Panels to f32 rows of the same shape, exactly. */
function unpack(device: Device, panels: Tensor, rows: Tensor): void {
  const [n, stack] = [panels.shape.at(-2)!, panels.shape.length === 3];
  const mark = device.mark();
  for (let first = 0; first < n; first += ROWS) {
    const count = Math.min(ROWS, n - first);
    const ids = device.scratch('i32', [count]);
    device.write(
      ids,
      Int32Array.from({ length: count }, (_, i) => first + i),
    );
    for (let e = 0; e < (stack ? panels.shape[0]! : 1); e++) {
      device.embed(ids, stack ? device.matrix(panels, e) : panels, device.rows(rows, e * n + first, count));
    }
    device.reset(mark);
  }
}
