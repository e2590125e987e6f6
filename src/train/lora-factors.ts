import type { LoraPart, LoraTarget } from '../checkpoint/adapter/modules.ts';
import { checkedScale } from '../checkpoint/adapter/scale.ts';
import type { WrittenFactors } from '../checkpoint/adapter/write.ts';
import type { ModelConfig } from '../checkpoint/types.ts';
import type { Device } from '../device/device.ts';
import type { TermsByLayer } from '../model/adapters.ts';
import type { LoraTerm } from '../model/lora.ts';
import type { Master } from '../model/masters.ts';
import type { TrainedTerms } from './decoder-trainable.ts';
import { FactorList, loraSites } from './lora-sites.ts';

/** An adapter that is to be trained from its beginning. */
export interface LoraSpec {
  readonly rank: number;
  readonly alpha: number;
  readonly rslora: boolean;
  /** Ends of the names of linear layers; null: all of attention and feed-forwards. */
  readonly targets: readonly string[] | null;
  readonly seed: number;
}

/** The factors of one matrix. */
interface Pair {
  readonly target: LoraTarget;
  readonly term: LoraTerm;
}

/** Factors of an adapter on a device: A as PEFT draws it, B zeros, so that the adapter begins with adding nothing. */
export class LoraFactors implements TrainedTerms {
  readonly terms: TermsByLayer;
  readonly factors: readonly Master[];
  readonly #rank: number;
  readonly #list: FactorList;
  readonly #pairs: readonly Pair[];

  /** @throws E_ARGUMENT for a target that the model has not, and an alpha that makes the scale 0 or infinite; E_OUT_OF_MEMORY, and nothing is left allocated */
  constructor(device: Device, config: ModelConfig, spec: LoraSpec) {
    const { rank, targets, seed } = spec;
    this.#rank = rank;
    this.#list = new FactorList(device, seed);
    const scale = checkedScale(spec);
    const pairs: Pair[] = [];
    const terms = new Map<number, { readonly [P in LoraPart]?: readonly LoraTerm[] }>();
    this.terms = terms;
    this.factors = this.#list.masters;
    this.#pairs = pairs;
    try {
      for (const { target, prefix, width } of loraSites(config, targets)) {
        const a = this.#list.drawn(`${prefix}A.weight`, [rank, width]);
        const b = this.#list.zeros(`${prefix}B.weight`, [target.rows, rank]);
        const term = { a, b, scale };
        pairs.push({ target, term });
        const { layer, part } = target;
        terms.set(layer, { ...terms.get(layer), [part]: [term] });
      }
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  /** To be written as an adapter. */
  async written(device: Device): Promise<WrittenFactors[]> {
    const list: WrittenFactors[] = [];
    for (const { target, term } of this.#pairs) {
      const [a, b] = (await device.read([term.a, term.b])) as [Float32Array, Float32Array];
      list.push({ layer: target.layer, part: target.part, rank: this.#rank, a, b });
    }
    return list;
  }

  dispose(): void {
    this.#list.dispose();
  }
}
