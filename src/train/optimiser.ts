import type { Tensor } from '../device/device.ts';
import type { Parameter, Trainable } from './trainable.ts';

/** What is optimised: parameters, and how they get back to where products read them. */
export type Optimised = Pick<Trainable, 'device' | 'parameters' | 'repack'>;

export interface AdamSettings {
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  /** Decoupled; of parameters that `decay`. */
  readonly weightDecay: number;
  /** Largest global norm of the gradient, beyond which all of it is scaled down; null: no limit. */
  readonly clip: number | null;
}

/** What is remembered of a parameter between steps. */
export interface Moments {
  readonly m: Tensor;
  readonly v: Tensor;
  /** Steps that it was trained in: the bias of both is corrected by this, as in PyTorch, and not by the steps of all. */
  updates: number;
}

/** AdamW (Loshchilov and Hutter 2019) over the parameters of a trainable that have a gradient. */
export class AdamW {
  readonly #trainable: Optimised;
  readonly #settings: AdamSettings;
  readonly #moments = new Map<string, Moments>();
  readonly #squares: Tensor;

  constructor(trainable: Optimised, settings: AdamSettings) {
    this.#trainable = trainable;
    this.#settings = settings;
    this.#squares = trainable.device.tensor('f32', [1]);
  }

  /** By the names of parameters, of those that were trained so far. */
  get moments(): ReadonlyMap<string, Moments> {
    return this.#moments;
  }

  /** The global norm of all gradients: NaN or infinity where one of them is, or their squares are beyond f32. */
  async norm(): Promise<number> {
    const { device } = this.#trainable;
    device.fill(this.#squares, 0);
    for (const { gradient } of this.#trained()) device.sumSquares(gradient, this.#squares);
    return Math.sqrt((await device.read(this.#squares))[0]!);
  }

  /**
   * One step of all that is trained, and its weights back to where products read them.
   * @param norm of the gradients, as `norm` gives it
   */
  step(rate: number, norm: number): void {
    const { beta1, beta2, epsilon, weightDecay, clip } = this.#settings;
    const { device } = this.#trainable;
    // as clip_grad_norm_ of PyTorch
    const gradientScale = clip === null ? 1 : Math.min(1, clip / (norm + 1e-6));
    for (const parameter of this.#trained()) {
      const moments = this.momentsOf(parameter);
      device.adamStep({
        parameters: parameter.value,
        gradient: parameter.gradient,
        m: moments.m,
        v: moments.v,
        step: ++moments.updates,
        rate,
        beta1,
        beta2,
        epsilon,
        weightDecay: parameter.decay ? weightDecay : 0,
        gradientScale,
      });
    }
    this.#trainable.repack();
  }

  /** Those of a parameter, made where there are none. @throws E_OUT_OF_MEMORY */
  momentsOf({ name, shape }: Parameter): Moments {
    let moments = this.#moments.get(name);
    if (moments === undefined) {
      const { device } = this.#trainable;
      const m = device.tensor('f32', shape);
      try {
        moments = { m, v: device.tensor('f32', shape), updates: 0 };
      } catch (error) {
        m.dispose();
        throw error;
      }
      this.#moments.set(name, moments);
    }
    return moments;
  }

  dispose(): void {
    this.#squares.dispose();
    for (const { m, v } of this.#moments.values()) {
      m.dispose();
      v.dispose();
    }
    this.#moments.clear();
  }

  #trained(): (Parameter & { readonly gradient: Tensor })[] {
    return this.#trainable.parameters.filter(
      (parameter): parameter is Parameter & { readonly gradient: Tensor } => parameter.gradient !== null,
    );
  }
}
