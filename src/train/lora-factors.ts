import { type LoraPart, type LoraTarget, loraModules } from '../checkpoint/adapter/modules.ts';
import type { WrittenFactors } from '../checkpoint/adapter/write.ts';
import type { ModelConfig } from '../checkpoint/types.ts';
import type { Device, Tensor } from '../device/device.ts';
import { EspalierError } from '../errors.ts';
import type { TermsByLayer } from '../model/adapters.ts';
import type { LoraTerm } from '../model/lora.ts';
import type { Master } from '../model/masters.ts';
import { uniform } from '../random.ts';
import type { TrainedTerms } from './decoder-trainable.ts';

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

/** Tells these draws from others with the same seed. */
const STREAM = 98;

/**
 * Factors of an adapter on a device: A uniform in ±1/√K, as PEFT draws it (Kaiming's rule with a = √5), B zeros, so that the adapter begins
 * with adding nothing.
 */
export class LoraFactors implements TrainedTerms {
  readonly terms: TermsByLayer;
  readonly factors: readonly Master[];
  readonly #rank: number;
  readonly #pairs: readonly Pair[];

  /** @throws E_ARGUMENT for a target that the model has not; E_OUT_OF_MEMORY, and nothing is left allocated */
  constructor(device: Device, config: ModelConfig, { rank, alpha, rslora, targets, seed }: LoraSpec) {
    this.#rank = rank;
    const scale = alpha / (rslora ? Math.sqrt(rank) : rank);
    const pairs: Pair[] = [];
    const factors: Master[] = [];
    const terms = new Map<number, { readonly [P in LoraPart]?: readonly LoraTerm[] }>();
    this.terms = terms;
    this.factors = factors;
    this.#pairs = pairs;
    const make = (name: string, shape: readonly number[]): Tensor => {
      const value = device.tensor('f32', shape);
      factors.push({ name, shape, value, packed: null });
      return value;
    };
    let draws = 0;
    try {
      for (const { target, module, width } of chosen(config, targets)) {
        const name = `base_model.model.${module}.lora_`;
        const a = make(`${name}A.weight`, [rank, width]);
        const b = make(`${name}B.weight`, [target.rows, rank]);
        const [at, bound] = [draws, 1 / Math.sqrt(width)];
        draws += rank * width;
        device.write(
          a,
          Float32Array.from({ length: rank * width }, (_, i) => bound * (2 * uniform(seed, at + i, STREAM) - 1)),
        );
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
    for (const { value } of this.factors) value.dispose();
  }
}

interface Chosen {
  readonly target: LoraTarget;
  /** The matrix's own name, without `.weight`. */
  readonly module: string;
  readonly width: number;
}

function chosen(config: ModelConfig, targets: readonly string[] | null): Chosen[] {
  const all = [...loraModules(config).values()].flatMap((module) =>
    module.targets.map((target) => ({
      target,
      module: target.tensor.slice(0, -'.weight'.length),
      width: module.shape[1],
    })),
  );
  const fits = (module: string, end: string) => module === end || module.endsWith(`.${end}`);
  const missing = targets?.find((end) => !all.some(({ module }) => fits(module, end)));
  if (missing !== undefined) {
    const ends = [...new Set(all.map(({ module }) => module.slice(module.lastIndexOf('.') + 1)))];
    throw new EspalierError(
      'E_ARGUMENT',
      `The model has no linear layer ${missing}.`,
      `Adapters are for ${ends.join(', ')}.`,
    );
  }
  return targets === null ? all : all.filter(({ module }) => targets.some((end) => fits(module, end)));
}
