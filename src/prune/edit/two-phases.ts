import { EspalierError, throwIfAborted } from '../../errors.ts';
import { uniform } from '../../random.ts';
import { Pace } from '../../runtime/host/yielding.ts';
import { AdamW } from '../../train/optimiser.ts';
import type { PassLosses, Trainable } from '../../train/trainable.ts';
import { diverged } from '../../train/trainer.ts';
import { type AsymmetricFactors, type FactorRole, TRAINED } from '../adapter/factors.ts';
import {
  type ForgetMask,
  forgetStep,
  type PruneSequence,
  type PruneStep,
  retainStep,
  structureStep,
} from './batches.ts';

/** What an adapter is trained on. */
export interface PruneExamples {
  /** By sub-domain, one a forget expert. */
  readonly forget: readonly (readonly PruneSequence[])[];
  readonly retain: readonly PruneSequence[];
}

export interface TwoPhaseSettings {
  /** Sequences of a step. */
  readonly batch: number;
  /** Rows of a pass at most. */
  readonly rows: number;
  /** Steps of Phase I. */
  readonly structureSteps: number;
  /** Times that Phase II goes through what is to be forgotten. */
  readonly epochs: number;
  /** Learning rates of A, and of every B. They rise from 0 in the first epoch, and stay. */
  readonly rate: { readonly shared: number; readonly experts: number };
  /** Factors of forgetting, retention, and structural invariance. */
  readonly factors: { readonly forget: number; readonly retain: number; readonly invariance: number };
  /** q of the entropy that shall stay. */
  readonly invarianceOrder: number;
  readonly mask: ForgetMask;
  /** An expert rests once the probability of its answers, per token, is below this; null: never. */
  readonly enough: number | null;
  readonly clip: number;
  /** Looks within an epoch. */
  readonly looks: number;
  readonly seed: number;
}

/** As the paper has them, where it says; the rest as docs/pruning.md says. */
export const TWO_PHASES: TwoPhaseSettings = {
  batch: 16,
  rows: 2048,
  structureSteps: 50,
  epochs: 3,
  rate: { shared: 1e-5, experts: 1e-3 },
  factors: { forget: 1, retain: 1, invariance: 0.01 },
  invarianceOrder: 0.8,
  mask: 'low',
  enough: 0.006,
  clip: 1,
  looks: 6,
  seed: 0,
};

/** Where a training stands. */
export interface PruneLook {
  /** Epochs of Phase II that are done. */
  readonly epoch: number;
  /**
   * By sub-domain: the mean probability of its answers, e^−(mean of their tokens' losses), of those that were seen last, as many as lie between two
   * looks, each before its step; null: none yet.
   */
  readonly answers: readonly (number | null)[];
}

export interface PruneHooks {
  readonly onStep?:
    | ((told: {
        readonly phase: 1 | 2;
        readonly step: number;
        readonly steps: number;
        readonly losses: PassLosses;
      }) => void)
    | undefined;
  /** Several times an epoch, and at its end: forgetting overshoots, so what is best lies between. Factors may be read here. */
  readonly onLook?: ((look: PruneLook) => Promise<void> | void) | undefined;
}

/** Tells draws of one seed apart. */
const STREAM = { structure: 141, order: 142, retain: 143 } as const;

/**
 * Trains an asymmetric adapter as a reconstruction of ALTER (arXiv 2603.01792) does. Phase I: A and B_r, on tokens of high entropy. Phase II, A
 * frozen: in turn a step that forgets some answers of one sub-domain, which only its expert learns from, and one that retains others, which only
 * B_r learns from. Each factor has its own moments, which rest while it does: what a step is not for keeps its bits.
 */
export class TwoPhases {
  readonly #trainable: Trainable;
  readonly #factors: AsymmetricFactors;
  readonly #examples: PruneExamples;
  readonly #settings: TwoPhaseSettings;
  readonly #hooks: PruneHooks;
  readonly #optimisers: { readonly shared: AdamW; readonly experts: AdamW };
  readonly #pace = new Pace();
  /** Probabilities of answers to be forgotten, by sub-domain, the last ones: within an epoch they fall from 1 to nothing. */
  readonly #seen: readonly number[][];
  #drawn = 0;

  /** @throws E_DATA_INVALID for a sub-domain without examples, none to retain, or not as many as there are experts */
  constructor(
    trainable: Trainable,
    factors: AsymmetricFactors,
    examples: PruneExamples,
    settings: TwoPhaseSettings,
    hooks: PruneHooks = {},
  ) {
    const empty = examples.forget.findIndex((list) => list.length === 0);
    if (empty >= 0 || examples.retain.length === 0 || examples.forget.length !== factors.experts) {
      throw new EspalierError(
        'E_DATA_INVALID',
        examples.retain.length === 0
          ? 'There is nothing to retain.'
          : empty >= 0
            ? `Sub-domain ${empty + 1} has nothing to forget.`
            : `There are ${examples.forget.length} sub-domains, and ${factors.experts} forget experts.`,
        'Give examples of both sides, and an expert for each sub-domain.',
      );
    }
    this.#trainable = trainable;
    this.#factors = factors;
    this.#examples = examples;
    this.#settings = settings;
    this.#hooks = hooks;
    this.#seen = examples.forget.map(() => []);
    const adam = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0, clip: settings.clip };
    const part = (isShared: boolean) => ({
      device: trainable.device,
      parameters: trainable.parameters.filter(({ name }) => (factors.roles.get(name) === 'shared') === isShared),
      repack: () => trainable.repack(),
    });
    this.#optimisers = { shared: new AdamW(part(true), adam), experts: new AdamW(part(false), adam) };
  }

  /**
   * @throws E_DIVERGED for NaN or infinity in a loss or a gradient, before anything is changed by it; E_ABORTED between steps, E_OUT_OF_MEMORY, what
   *   hooks throw
   */
  async run(signal?: AbortSignal): Promise<void> {
    try {
      await this.#structure(signal);
      await this.#edit(signal);
    } finally {
      this.#trainable.train(() => false);
    }
  }

  dispose(): void {
    this.#optimisers.shared.dispose();
    this.#optimisers.experts.dispose();
  }

  async #structure(signal: AbortSignal | undefined): Promise<void> {
    const { batch, rows, structureSteps: steps, seed, factors, invarianceOrder: order } = this.#settings;
    if (steps === 0) return;
    const all = [...this.#examples.forget.flat(), ...this.#examples.retain];
    this.#train(TRAINED.phaseOne);
    for (let step = 0; step < steps; step++) {
      const some = Array.from(
        { length: batch },
        (_, i) => all[Math.floor(uniform(seed, step * batch + i, STREAM.structure) * all.length)]!,
      );
      const made = structureStep(some, rows, { order, factor: factors.invariance });
      if (made === null) continue;
      const losses = await this.#update(made, 1, signal);
      this.#hooks.onStep?.({ phase: 1, step: step + 1, steps, losses });
    }
  }

  async #edit(signal: AbortSignal | undefined): Promise<void> {
    const { epochs, looks } = this.#settings;
    const steps = this.#batches(0).length;
    let at = 0;
    for (let epoch = 0; epoch < epochs; epoch++) {
      const list = this.#batches(epoch);
      for (const [i, { domain, sequences }] of list.entries()) {
        const warmth = Math.min(1, (at + 1) / steps);
        const losses = await this.#editStep(domain, sequences, warmth, signal);
        at++;
        this.#hooks.onStep?.({ phase: 2, step: at, steps: epochs * steps, losses });
        const [before, now] = [i, i + 1].map((done) => Math.floor((done * looks) / list.length));
        if (now! > before!)
          await this.#hooks.onLook?.({ epoch: epoch + (i + 1) / list.length, answers: this.#answers() });
      }
    }
  }

  async #editStep(
    domain: number,
    sequences: readonly PruneSequence[],
    warmth: number,
    signal: AbortSignal | undefined,
  ): Promise<PassLosses> {
    const { batch, rows, mask, factors, seed, enough } = this.#settings;
    const known = this.#answers()[domain]!;
    let losses: PassLosses | null = null;
    if (enough === null || known === null || known >= enough) {
      this.#train(TRAINED.forget(domain));
      const options = { expert: domain, experts: this.#factors.experts, mask, factor: factors.forget };
      losses = await this.#update(forgetStep(sequences, rows, options), warmth, signal, (probability) =>
        this.#see(domain, probability),
      );
    }
    const { retain } = this.#examples;
    const kept = Array.from(
      { length: batch },
      () => retain[Math.floor(uniform(seed, this.#drawn++, STREAM.retain) * retain.length)]!,
    );
    this.#train(TRAINED.retain);
    const own = await this.#update(retainStep(kept, rows, factors.retain), warmth, signal);
    return losses === null ? own : { ...own, hinge: losses.hinge };
  }

  #train(roles: readonly FactorRole[]): void {
    this.#trainable.train(this.#factors.trained(roles));
  }

  /** One step of what is trained. @param tell the probability of each answer, before the step */
  async #update(
    { batches }: PruneStep,
    warmth: number,
    signal: AbortSignal | undefined,
    tell?: (probability: number) => void,
  ): Promise<PassLosses> {
    throwIfAborted(signal);
    const { shared, experts } = this.#optimisers;
    this.#trainable.zeroGradients();
    let sum: PassLosses | null = null;
    for (const batch of batches) {
      const onRows = tell && ((nll: Float32Array) => eachAnswer(batch, nll, (mean) => tell(Math.exp(-mean))));
      const losses = await this.#trainable.step(batch, { signal, onRows });
      sum = sum === null ? losses : added(sum, losses);
    }
    const norm = Math.hypot(await shared.norm(), await experts.norm());
    if (!Number.isFinite(norm) || !Object.values(sum!).every(Number.isFinite)) {
      throw diverged(`Pruning diverged: the norm of its gradient is ${norm}.`, 0);
    }
    throwIfAborted(signal);
    shared.step(this.#settings.rate.shared * warmth, norm);
    experts.step(this.#settings.rate.experts * warmth, norm);
    await this.#pace.breathe();
    return sum!;
  }

  /** What is to be forgotten, in batches of one sub-domain each, all of them in an order of seed and epoch. */
  #batches(epoch: number): { readonly domain: number; readonly sequences: readonly PruneSequence[] }[] {
    const { batch, seed } = this.#settings;
    let draws = epoch * 2 ** 32;
    const shuffled = <T>(list: readonly T[]): T[] => {
      const own = [...list];
      for (let i = own.length - 1; i > 0; i--) {
        const j = Math.floor(uniform(seed, draws++, STREAM.order) * (i + 1));
        [own[i], own[j]] = [own[j]!, own[i]!];
      }
      return own;
    };
    const list = this.#examples.forget.flatMap((sequences, domain) => {
      const own = shuffled(sequences);
      return Array.from({ length: Math.ceil(own.length / batch) }, (_, i) => ({
        domain,
        sequences: own.slice(i * batch, (i + 1) * batch),
      }));
    });
    return shuffled(list);
  }

  #see(domain: number, probability: number): void {
    const seen = this.#seen[domain]!;
    seen.push(probability);
    if (seen.length > Math.ceil(this.#examples.forget[domain]!.length / this.#settings.looks)) seen.shift();
  }

  #answers(): (number | null)[] {
    return this.#seen.map((seen) => (seen.length === 0 ? null : seen.reduce((sum, one) => sum + one, 0) / seen.length));
  }
}

/** The mean loss of the learned tokens of each sequence of a batch, in their order. */
function eachAnswer(
  { starts, targets }: { readonly starts: Int32Array; readonly targets: Int32Array },
  nll: Float32Array,
  tell: (mean: number) => void,
): void {
  for (let row = 0, end = 0; row < starts.length; row = end) {
    let [sum, count] = [0, 0];
    for (end = row; end < starts.length && starts[end] === starts[row]; end++) {
      if (targets[end]! < 0) continue;
      sum += nll[end]!;
      count++;
    }
    if (count > 0) tell(sum / count);
  }
}

function added(a: PassLosses, b: PassLosses): PassLosses {
  const sum = Object.keys(a).map((key) => [key, a[key as keyof PassLosses] + b[key as keyof PassLosses]]);
  return Object.fromEntries(sum) as unknown as PassLosses;
}
