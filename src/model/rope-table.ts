import { ropeFrequencies } from '../checkpoint/rope/frequencies.ts';
import type { RopeConfig } from '../checkpoint/types.ts';
import type { Device, Tensor } from '../device/device.ts';

/**
 * cos and sin of every position's angles, on the device: [P, 2, rotaryDims/2]. Angles are products in f64, because f32 angles
 * lose digits at long contexts. Grows by doubling as positions are needed.
 */
export class RopeTable {
  readonly #device: Device;
  readonly #inverseFrequencies: Float64Array;
  /** Multiplies rotated vectors (YaRN); keys before RoPE do not carry it. */
  readonly attentionFactor: number;
  readonly #rotaryDims: number;
  readonly #maxPositions: number;
  /** Forward: rotates and applies the attention factor. Inverse: takes both back. */
  readonly #tables: { forward: Tensor | null; inverse: Tensor | null } = { forward: null, inverse: null };

  constructor(device: Device, rope: RopeConfig, maxPositions: number) {
    const { inverseFrequencies, attentionFactor } = ropeFrequencies(rope);
    this.#device = device;
    this.#inverseFrequencies = inverseFrequencies;
    this.attentionFactor = attentionFactor;
    this.#rotaryDims = rope.rotaryDims;
    this.#maxPositions = maxPositions;
  }

  /** Table with at least `positions` rows that turns keys and queries before RoPE into rotated ones. */
  forward(positions: number): Tensor {
    return this.#ensure('forward', positions, this.attentionFactor, 1);
  }

  /** Table that turns rotated keys back into keys before RoPE. */
  inverse(positions: number): Tensor {
    return this.#ensure('inverse', positions, 1 / this.attentionFactor, -1);
  }

  /**
   * One row, [1, 2, rotaryDims/2]: the pure rotation by `delta` positions (which may be negative), without the attention factor,
   * so that any number of moves leaves a key's length alone. The caller disposes it.
   */
  delta(delta: number): Tensor {
    const table = this.#device.tensor('f32', [1, 2, this.#rotaryDims / 2]);
    this.#device.write(table, this.#rows(delta, 1, 1, 1));
    return table;
  }

  dispose(): void {
    this.#tables.forward?.dispose();
    this.#tables.inverse?.dispose();
  }

  #ensure(kind: 'forward' | 'inverse', positions: number, factor: number, direction: number): Tensor {
    const table = this.#tables[kind];
    if (table && table.shape[0]! >= positions) return table;
    const rows = Math.max(positions, Math.min(this.#maxPositions, Math.max(256, 2 * (table?.shape[0] ?? 0))));
    const grown = this.#device.tensor('f32', [rows, 2, this.#rotaryDims / 2]);
    this.#device.write(grown, this.#rows(0, rows, factor, direction));
    table?.dispose();
    this.#tables[kind] = grown;
    return grown;
  }

  #rows(first: number, count: number, factor: number, direction: number): Float32Array {
    const half = this.#rotaryDims / 2;
    const data = new Float32Array(count * 2 * half);
    for (let p = 0; p < count; p++) {
      for (let j = 0; j < half; j++) {
        const angle = (first + p) * this.#inverseFrequencies[j]!;
        data[p * 2 * half + j] = Math.cos(angle) * factor;
        data[p * 2 * half + half + j] = Math.sin(angle) * factor * direction;
      }
    }
    return data;
  }
}
