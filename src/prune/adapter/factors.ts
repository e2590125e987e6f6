import type { LoraPart, LoraTarget } from '../../checkpoint/adapter/modules.ts';
import type { RoutedMatrix } from '../../checkpoint/adapter/routed-write.ts';
import { checkedScale, loraScale } from '../../checkpoint/adapter/scale.ts';
import type { WrittenFactors } from '../../checkpoint/adapter/write.ts';
import type { ModelConfig } from '../../checkpoint/types.ts';
import type { Device, Tensor } from '../../device/device.ts';
import { EspalierError } from '../../errors.ts';
import type { TermsByLayer } from '../../model/adapters.ts';
import type { LoraTerm } from '../../model/lora.ts';
import type { Master } from '../../model/masters.ts';
import type { TrainedTerms } from '../../train/decoder-trainable.ts';
import type { LoraSpec } from '../../train/lora-factors.ts';
import { FactorList, loraSites } from '../../train/lora-sites.ts';

/** An asymmetric adapter that is to be trained from its beginning. */
export interface AsymmetricSpec extends LoraSpec {
  /** Forget experts, N: one a sub-domain. */
  readonly experts: number;
}

/** What a factor is for: all (A), the retention expert (B_r), or forget expert k (B_fk), from 1 on, column k - 1 of a routing. */
export type FactorRole = 'shared' | 'retain' | `forget-${number}`;

/** What is trained where: Phase I, and without one a step that is for A alone; of Phase II a step that forgets a sub-domain, from 0 on, and one that retains. */
export const TRAINED = {
  phaseOne: ['shared', 'retain'],
  shared: ['shared'],
  forget: (domain: number): readonly FactorRole[] => [forgetRole(domain)],
  retain: ['retain'],
} as const;

/** @param domain from 0 on, as a column of a routing */
export function forgetRole(domain: number): `forget-${number}` {
  return `forget-${domain + 1}`;
}

/** One matrix: its terms are B_r, B_f1, …, which share A. */
interface Site {
  readonly target: LoraTarget;
  readonly prefix: string;
  readonly a: Tensor;
  readonly terms: LoraTerm[];
}

/**
 * Factors of an asymmetric adapter on a device, W + s (B_r + Σ c_d B_fd) A: A as PEFT draws it, every B zeros, so that it begins with adding
 * nothing. Where all B are zeros and none is trained, A has no gradient: Phase I trains B_r, too.
 */
export class AsymmetricFactors implements TrainedTerms {
  readonly terms: TermsByLayer;
  readonly factors: readonly Master[];
  readonly #spec: AsymmetricSpec;
  readonly #list: FactorList;
  readonly #sites: readonly Site[];
  readonly #roles = new Map<string, FactorRole>();
  #experts = 0;

  /** @throws E_ARGUMENT for a target that the model has not, or experts that are no count; E_OUT_OF_MEMORY, and nothing is left allocated */
  constructor(device: Device, config: ModelConfig, spec: AsymmetricSpec) {
    const { rank, experts, targets, seed } = spec;
    if (!(Number.isInteger(experts) && experts >= 0)) {
      throw new EspalierError(
        'E_ARGUMENT',
        `An adapter of ${experts} forget experts is asked for.`,
        'Give a whole number.',
      );
    }
    checkedScale(spec);
    this.#spec = spec;
    this.#list = new FactorList(device, seed);
    this.factors = this.#list.masters;
    const sites: Site[] = [];
    const terms = new Map<number, { readonly [P in LoraPart]?: readonly LoraTerm[] }>();
    this.#sites = sites;
    this.terms = terms;
    try {
      for (const { target, prefix, width } of loraSites(config, targets)) {
        const a = this.#list.drawn(`${prefix}A.weight`, [rank, width]);
        const site: Site = { target, prefix, a, terms: [] };
        sites.push(site);
        terms.set(target.layer, { ...terms.get(target.layer), [target.part]: site.terms });
      }
      for (const { name } of this.factors) this.#roles.set(name, 'shared');
      this.#addTerms('retain', {});
      while (this.#experts < experts) this.append();
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  /** Forget experts. */
  get experts(): number {
    return this.#experts;
  }

  /** Of each factor, by its name. */
  get roles(): ReadonlyMap<string, FactorRole> {
    return this.#roles;
  }

  /**
   * Adds a forget expert, zeros, for a later request. Before a trainable is loaded with these factors: it has those that it found.
   * @returns its column of a routing
   * @throws E_OUT_OF_MEMORY, and the adapter is as it was
   */
  append(): number {
    const expert = this.#experts;
    this.#addTerms(forgetRole(expert), { expert });
    this.#experts++;
    return expert;
  }

  /** One more B of every matrix, or of none. */
  #addTerms(role: FactorRole, of: Pick<LoraTerm, 'expert'>): void {
    const before = this.factors.length;
    const { scale } = this;
    const made: LoraTerm[] = [];
    try {
      for (const { target, prefix, a } of this.#sites) {
        const b = this.#list.zeros(`${prefix}B.${role}.weight`, [target.rows, this.#spec.rank]);
        made.push({ a, b, scale, ...of });
      }
    } catch (error) {
      this.#list.cut(before);
      throw error;
    }
    for (const { name } of this.factors.slice(before)) this.#roles.set(name, role);
    for (const [i, { terms }] of this.#sites.entries()) terms.push(made[i]!);
  }

  /** For `Trainable.train`: factors of these roles, and nothing else. @throws E_ARGUMENT for an expert that is not there */
  trained(roles: readonly FactorRole[]): (parameter: { readonly name: string }) => boolean {
    const known = new Set(this.#roles.values());
    const missing = roles.find((role) => !known.has(role));
    if (missing !== undefined) {
      throw new EspalierError(
        'E_ARGUMENT',
        `The adapter has no factor ${missing}.`,
        `It has ${this.#experts} forget experts.`,
      );
    }
    return ({ name }) => {
      const role = this.#roles.get(name);
      return role !== undefined && roles.includes(role);
    };
  }

  /**
   * As one adapter with fixed coefficients, to be written: A, and Σ coefficient · B, in f64 and rounded once. That of one expert alone has
   * its numbers.
   */
  async written(device: Device, coefficient: (role: FactorRole) => number): Promise<WrittenFactors[]> {
    const list: WrittenFactors[] = [];
    for (const { target, a, terms } of this.#sites) {
      const [own, ...read] = (await device.read([a, ...terms.map(({ b }) => b)])) as Float32Array[];
      const sum = new Float64Array(read[0]!.length);
      for (const [i, { expert }] of terms.entries()) {
        const factor = coefficient(expert === undefined ? 'retain' : forgetRole(expert));
        if (factor === 0) continue;
        for (const [j, value] of read[i]!.entries()) sum[j]! += factor * value;
      }
      const { layer, part } = target;
      list.push({ layer, part, rank: this.#spec.rank, a: own!, b: Float32Array.from(sum) });
    }
    return list;
  }

  /** What (x Aᵀ) Bᵀ is multiplied by. */
  get scale(): number {
    return loraScale(this.#spec);
  }

  /** All of them as numbers, for `routedFiles`: expert 0 there is `forget-1`. */
  async matrices(device: Device): Promise<RoutedMatrix[]> {
    const list: RoutedMatrix[] = [];
    for (const { target, a, terms } of this.#sites) {
      const [own, retain, ...forget] = (await device.read([a, ...terms.map(({ b }) => b)])) as Float32Array[];
      const { layer, part } = target;
      list.push({ layer, part, rank: this.#spec.rank, a: own!, retain: retain!, forget });
    }
    return list;
  }

  /**
   * Takes the numbers of an earlier adapter: A, B_r, and its experts, which are the first; the others stay as they are.
   * @throws E_ADAPTER where it is for other matrices, of another rank, or has more experts
   */
  load(device: Device, matrices: readonly RoutedMatrix[]): void {
    const found = new Map(matrices.map((matrix) => [`${matrix.layer} ${matrix.part}`, matrix]));
    const misfit = found.size !== this.#sites.length;
    for (const { target, a, terms } of this.#sites) {
      const own = found.get(`${target.layer} ${target.part}`);
      if (misfit || own?.rank !== this.#spec.rank || own.forget.length > this.#experts) {
        throw new EspalierError(
          'E_ADAPTER',
          `The earlier adapter has ${found.size} matrices, and none that fits layer ${target.layer}, ${target.part}, with a rank of ${this.#spec.rank}.`,
          'Give one that was made here for all of the same layers.',
        );
      }
      device.write(a, own.a);
      for (const [i, { b }] of terms.slice(0, 1 + own.forget.length).entries()) {
        device.write(b, i === 0 ? own.retain : own.forget[i - 1]!);
      }
    }
  }

  dispose(): void {
    this.#list.dispose();
  }
}
