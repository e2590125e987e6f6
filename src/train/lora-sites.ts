import { type LoraTarget, loraModules } from '../checkpoint/adapter/modules.ts';
import type { ModelConfig } from '../checkpoint/types.ts';
import type { Device, Tensor } from '../device/device.ts';
import { EspalierError } from '../errors.ts';
import type { Master } from '../model/masters.ts';
import { uniform } from '../random.ts';

/** A matrix that an adapter is trained for. */
export interface LoraSite {
  readonly target: LoraTarget;
  /** `base_model.model.model.layers.0.self_attn.q_proj.lora_`: names of factors go on behind it. */
  readonly prefix: string;
  readonly width: number;
}

/**
 * @param targets ends of the names of linear layers; null: all of attention and feed-forwards
 * @throws E_ARGUMENT for a target that the model has not
 */
export function loraSites(config: ModelConfig, targets: readonly string[] | null): LoraSite[] {
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
  const chosen = targets === null ? all : all.filter(({ module }) => targets.some((end) => fits(module, end)));
  return chosen.map(({ target, module, width }) => ({ target, prefix: `base_model.model.${module}.lora_`, width }));
}

/** Tells these draws from others with the same seed. */
const STREAM = 98;

/** Factors as they are made on a device, in their order. */
export class FactorList {
  readonly masters: Master[] = [];
  readonly #device: Device;
  readonly #seed: number;
  #draws = 0;

  constructor(device: Device, seed: number) {
    this.#device = device;
    this.#seed = seed;
  }

  /** Zeros. @throws E_OUT_OF_MEMORY */
  zeros(name: string, shape: readonly [number, number]): Tensor {
    const value = this.#device.tensor('f32', shape);
    this.masters.push({ name, shape, value, packed: null });
    return value;
  }

  /** Uniform in ±1/√K, as PEFT draws A [r, K] (Kaiming's rule with a = √5). @throws E_OUT_OF_MEMORY */
  drawn(name: string, [rank, width]: readonly [number, number]): Tensor {
    const value = this.zeros(name, [rank, width]);
    const [at, bound] = [this.#draws, 1 / Math.sqrt(width)];
    this.#draws += rank * width;
    const draw = (_: unknown, i: number) => bound * (2 * uniform(this.#seed, at + i, STREAM) - 1);
    this.#device.write(value, Float32Array.from({ length: rank * width }, draw));
    return value;
  }

  /** Frees those behind the first `count`. */
  cut(count: number): void {
    for (const { value } of this.masters.splice(count)) value.dispose();
  }

  dispose(): void {
    for (const { value } of this.masters) value.dispose();
  }
}
