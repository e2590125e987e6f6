import type { ModelConfig } from '../checkpoint/types.ts';
import type { Device, Tensor } from '../device/device.ts';
import { RopeTable } from './rope-table.ts';

/** A table of angles for each layer, the same tensor for all that rotate alike; null: a layer that rotates nothing. */
export type LayerTables = readonly (Tensor | null)[];

/** How each layer of a model rotates keys and queries: by the main RoPE, by a local one, or not at all. */
export class ModelRopes {
  readonly main: RopeTable;
  readonly local: RopeTable | null;
  readonly #layers: readonly (RopeTable | null)[];
  /** The last lists that were made, since every token asks for one. */
  readonly #lists = new Map<'forward' | 'inverse', LayerTables>();

  constructor(device: Device, config: ModelConfig) {
    const { rope, localRope, maxPositions, nLayers } = config;
    const main = new RopeTable(device, rope, maxPositions);
    const local = localRope && new RopeTable(device, localRope, maxPositions);
    const [locals, none] = [new Set(config.localRopeLayers), new Set(config.noRopeLayers)];
    this.main = main;
    this.local = local;
    this.#layers = Array.from({ length: nLayers }, (_, i) => (none.has(i) ? null : locals.has(i) ? local : main));
  }

  /** Tables with at least `positions` rows that turn keys and queries before RoPE into rotated ones. */
  forward(positions: number): LayerTables {
    return this.#list('forward', positions);
  }

  /** Tables that turn rotated keys back into keys before RoPE. */
  inverse(positions: number): LayerTables {
    return this.#list('inverse', positions);
  }

  /** Rotations by `delta` positions, of one row each, as `RopeTable.delta` makes them. The caller disposes them. */
  delta(delta: number): { readonly tables: LayerTables; dispose(): void } {
    const made = new Map([this.main, ...(this.local ? [this.local] : [])].map((rope) => [rope, rope.delta(delta)]));
    return {
      tables: this.#layers.map((rope) => rope && made.get(rope)!),
      dispose: () => {
        for (const table of made.values()) table.dispose();
      },
    };
  }

  dispose(): void {
    this.main.dispose();
    this.local?.dispose();
    this.#lists.clear();
  }

  #list(kind: 'forward' | 'inverse', positions: number): LayerTables {
    const main = this.main[kind](positions);
    const local = this.local?.[kind](positions) ?? null;
    const tableOf = (rope: RopeTable | null) => (rope === null ? null : rope === this.main ? main : local);
    const before = this.#lists.get(kind);
    if (before?.every((table, i) => table === tableOf(this.#layers[i]!))) return before;
    const list = this.#layers.map(tableOf);
    this.#lists.set(kind, list);
    return list;
  }
}
