import { orderOf } from '../../datasets/training/stream.ts';
import { EspalierError, throwIfAborted } from '../../errors.ts';
import { checked, type Filled, filled } from '../../options/check.ts';
import { uniform } from '../../random.ts';
import { Pace } from '../../runtime/host/yielding.ts';
import { AdamW } from '../../train/optimiser.ts';
import type { PassLosses, Trainable } from '../../train/trainable.ts';
import { diverged } from '../../train/trainer.ts';
import { type AsymmetricFactors, type FactorRole, TRAINED } from '../adapter/factors.ts';
import { forgetStep, type PruneSequence, type PruneStep, retainStep, structureStep } from './batches.ts';
import { type TwoPhaseOptions, twoPhaseOptions } from './options.ts';

/** What an adapter is trained on. */
export interface PruneExamples {
  /** By sub-domain, one a forget expert. */
  readonly forget: readonly (readonly PruneSequence[])[];
  readonly retain: readonly PruneSequence[];
  /** q of their entropies, which Phase I keeps; what is high may be so by another. */
  readonly order: number;
}

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
const STREAM = { structure: 141, retain: 143 } as const;

/**
 * Trains an asymmetric adapter as a reconstruction of ALTER (arXiv 2603.01792) does. Phase I: A and B_r, on tokens of high entropy. Phase II, A
 * frozen: in turn a step that forgets some answers of one sub-domain, which only its expert learns from, and one that retains others, which only
 * B_r learns from. Each factor has its own moments, which rest while it does: what a step is not for keeps its bits.
 */
export class TwoPhases {
  readonly #trainable: Trainable;
  readonly #factors: AsymmetricFactors;
  readonly #examples: PruneExamples;
  readonly #settings: Filled<TwoPhaseOptions, typeof twoPhaseOptions>;
  readonly #hooks: PruneHooks;
  readonly #optimisers: { readonly shared: AdamW; readonly experts: AdamW };
  readonly #pace = new Pace();
  /** Probabilities of answers to be forgotten, by sub-domain, the last ones: within an epoch they fall from 1 to nothing. */
  readonly #seen: readonly number[][];
  #drawn = 0;

  /**
   * @throws E_ARGUMENT for options; E_DATA_INVALID for a sub-domain without examples, none to retain, not as many sub-domains as experts, and
   *   where Phase I has no token of high entropy
   */
  constructor(
    trainable: Trainable,
    factors: AsymmetricFactors,
    examples: PruneExamples,
    options: TwoPhaseOptions = {},
    hooks: PruneHooks = {},
  ) {
    const settings = filled(twoPhaseOptions, checked<TwoPhaseOptions>(twoPhaseOptions, options, 'TwoPhases'));
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
    const all = [...examples.forget.flat(), ...examples.retain];
    if (settings.structureSteps > 0 && !all.some((own) => own.learned.some((is, t) => is === 1 && own.high[t] === 1))) {
      throw new EspalierError(
        'E_DATA_INVALID',
        'No token that is learned has a high entropy: Phase I has nothing to learn from.',
        'Take a lower cut or a percentile, or leave Phase I out: `structureSteps: 0`.',
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
    const { batch, rows, structureSteps: steps, seed, invariance: factor } = this.#settings;
    const { order } = this.#examples;
    if (steps === 0) return;
    const all = [...this.#examples.forget.flat(), ...this.#examples.retain];
    this.#train(TRAINED.phaseOne);
    for (let step = 0; step < steps; step++) {
      const some = Array.from(
        { length: batch },
        (_, i) => all[Math.floor(uniform(seed, step * batch + i, STREAM.structure) * all.length)]!,
      );
      const made = structureStep(some, rows, { order, factor });
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
    const { batch, rows, mask, forgetting, retention, seed, enough } = this.#settings;
    const known = this.#answers()[domain]!;
    let losses: PassLosses | null = null;
    if (enough === null || known === null || known >= enough) {
      this.#train(TRAINED.forget(domain));
      const options = { expert: domain, experts: this.#factors.experts, mask, factor: forgetting };
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
    const own = await this.#update(retainStep(kept, rows, retention), warmth, signal);
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
    shared.step(this.#settings.sharedRate * warmth, norm);
    experts.step(this.#settings.rate * warmth, norm);
    await this.#pace.breathe();
    return sum!;
  }

  /** What is to be forgotten, in batches of one sub-domain each, all of them in an order of seed and epoch. */
  #batches(epoch: number): { readonly domain: number; readonly sequences: readonly PruneSequence[] }[] {
    const { batch, seed } = this.#settings;
    const shuffled = <T>(list: readonly T[]): T[] =>
      Array.from(orderOf(Uint32Array.from(list.keys()), seed, epoch), (i) => list[i]!);
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
