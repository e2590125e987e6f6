import { EspalierError, throwIfAborted } from '../../errors.ts';
import { checked, type Filled, filled } from '../../options/check.ts';
import { Pace } from '../../runtime/host/yielding.ts';
import { AdamW } from '../../train/optimiser.ts';
import type { MomentsBook } from '../../train/state/states.ts';
import type { Parameter, PassLosses, Trainable } from '../../train/trainable.ts';
import { diverged } from '../../train/trainer.ts';
import { type AsymmetricFactors, type FactorRole, forgetRole, TRAINED } from '../adapter/factors.ts';
import { sequenceSums } from '../objective/sequences.ts';
import type { IsolationLedger } from '../proof/isolation.ts';
import type { SequenceSource, StepKind } from '../proof/kinds.ts';
import { forgetStep, type PruneSequence, type PruneStep, retainStep, structureStep } from './batches.ts';
import { type ForgetBatch, forgetBatches, retainDraw, type StructureDraws, structureSequences } from './draws.ts';
import { gradientPenalty } from './gradient-penalty.ts';
import { checkTogether, type TwoPhaseOptions, twoPhaseOptions } from './options.ts';
import type { UnlearnedModel } from './unlearning.ts';

type Settings = Filled<TwoPhaseOptions, typeof twoPhaseOptions>;

/** What an adapter is trained on. */
export interface PruneExamples {
  /** By sub-domain, one a forget expert. */
  readonly forget: readonly (readonly PruneSequence[])[];
  readonly retain: readonly PruneSequence[];
  /** q of their entropies, which Phase I keeps; what is high may be so by another. */
  readonly order: number;
  /** Forget experts of earlier requests, which stand before those of these sub-domains, and rest. Default 0. */
  readonly earlier?: number;
}

/** Where a training stands. */
export interface PruneLook {
  /** Epochs of Phase II that are done. */
  readonly epoch: number;
  /**
   * By sub-domain: the mean probability of its answers, e^−(mean of their tokens' losses), of those that were seen last, as many as lie between two
   * looks and at most each once, before its step; null: none yet.
   */
  readonly answers: readonly (number | null)[];
}

/** Where a training stands, as plain data: with factors and moments, all that it goes on from. */
export interface PhasesProgress {
  /** Steps that are done, of both phases. */
  readonly step: number;
  /** Whether of the next one what is to be forgotten is done, and what is kept is not. */
  readonly half: boolean;
  /** Whether of the next one, where A learns in every step, that is done, and the rest is not. */
  readonly structured: boolean;
  /** Whether the look behind the last one is still to come. */
  readonly unlooked: boolean;
  /** By sub-domain: probabilities of answers that were seen last. */
  readonly seen: readonly (readonly number[])[];
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
  /**
   * Several times an epoch, and at its end: forgetting overshoots, so what is best lies between. Factors may be read here, and where it says
   * `end` no step comes behind it.
   */
  readonly onLook?: ((look: PruneLook) => Promise<'end' | undefined> | 'end' | undefined) | undefined;
  /** After each step and its look: a state may be kept. */
  readonly onRest?: ((progress: PhasesProgress) => Promise<void>) | undefined;
  /** Is told of every step, what it was for and which tokens its loss was over, and between the phases. */
  readonly ledger?: Pick<IsolationLedger, 'step' | 'switchPhases'> | undefined;
}

/**
 * Trains an asymmetric adapter as a reconstruction of ALTER (arXiv 2603.01792) does. Phase I: A and B_r, on tokens of high entropy. Phase II, A
 * frozen: in turn a step that forgets some answers of one sub-domain, which only its expert learns from, and one that retains others, which only
 * B_r learns from. With the schedule `interleaved` there is no Phase I, and A learns alone before each of these. Each factor has its own moments, which
 * rest while it does: what a step is not for keeps its bits.
 */
export class TwoPhases {
  readonly #trainable: Trainable;
  readonly #factors: AsymmetricFactors;
  /** The expert of the first sub-domain: those before it are of earlier requests. */
  readonly #first: number;
  readonly #examples: PruneExamples;
  readonly #settings: Settings;
  readonly #hooks: PruneHooks;
  /** What A learns from. */
  readonly #structure: StructureDraws<PruneSequence, SequenceSource>;
  readonly #optimisers: { readonly shared: AdamW; readonly experts: AdamW };
  readonly #pace = new Pace();
  /** Probabilities of answers to be forgotten, by sub-domain, the last ones: within an epoch they fall from 1 to nothing. */
  readonly #seen: readonly number[][];
  /** That are done. */
  #step = 0;
  #half = false;
  #structured = false;
  /** Whether a look at what the last step has made is still to come. */
  #unlooked = false;

  /**
   * @param progress to go on from: factors and moments have to be those of the same training
   * @throws E_ARGUMENT for options, and without the reference that one asks; E_DATA_INVALID for a sub-domain without examples, none to retain, not as many sub-domains as experts, and
   *   where Phase I has no token of high entropy
   */
  constructor(
    trainable: Trainable & Pick<UnlearnedModel, 'hasReference'>,
    factors: AsymmetricFactors,
    examples: PruneExamples,
    options: TwoPhaseOptions = {},
    hooks: PruneHooks = {},
    progress?: PhasesProgress,
  ) {
    const given = filled(twoPhaseOptions, checked<TwoPhaseOptions>(twoPhaseOptions, options, 'TwoPhases'));
    const settings = given.schedule === 'interleaved' ? { ...given, structureSteps: 0 } : given;
    const empty = examples.forget.findIndex((list) => list.length === 0);
    if (
      empty >= 0 ||
      examples.retain.length === 0 ||
      examples.forget.length !== factors.experts - (examples.earlier ?? 0)
    ) {
      throw new EspalierError(
        'E_DATA_INVALID',
        examples.retain.length === 0
          ? 'There is nothing to retain.'
          : empty >= 0
            ? `Sub-domain ${empty + 1} has nothing to forget.`
            : `There are ${examples.forget.length} sub-domains, and ${factors.experts - (examples.earlier ?? 0)} forget experts.`,
        'Give examples of both sides, and an expert for each sub-domain.',
      );
    }
    const first = examples.earlier ?? 0;
    const sources = [...examples.forget.map((_, domain) => forgetRole(first + domain)), 'retain' as const];
    this.#structure = structureSequences([...examples.forget, examples.retain], sources, settings);
    const { all, draws } = this.#structure;
    checkTogether(options, settings, draws.length > 0, trainable);
    if (draws.length > 0 && !all.some((own) => own.learned.some((is, t) => is === 1 && own.high[t] === 1))) {
      throw new EspalierError(
        'E_DATA_INVALID',
        'No token that is learned has a high entropy: A has nothing to learn from.',
        'Take a lower cut or a percentile, or leave Phase I out: `structureSteps: 0`.',
      );
    }
    this.#trainable = trainable;
    this.#factors = factors;
    this.#first = first;
    this.#examples = examples;
    this.#settings = settings;
    this.#hooks = hooks;
    this.#seen = examples.forget.map((_, domain) => [...(progress?.seen[domain] ?? [])]);
    this.#step = progress?.step ?? 0;
    this.#half = progress?.half ?? false;
    this.#structured = progress?.structured ?? false;
    this.#unlooked = progress?.unlooked ?? false;
    const adam = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0, clip: settings.clip };
    const part = (isShared: boolean) => ({
      device: trainable.device,
      parameters: trainable.parameters.filter(({ name }) => (factors.roles.get(name) === 'shared') === isShared),
      repack: () => trainable.repack(),
    });
    this.#optimisers = { shared: new AdamW(part(true), adam), experts: new AdamW(part(false), adam) };
  }

  /** Steps of both phases. */
  get steps(): number {
    const { structureSteps, epochs } = this.#settings;
    return structureSteps + epochs * this.#batches(0).length;
  }

  get progress(): PhasesProgress {
    const [half, structured, unlooked] = [this.#half, this.#structured, this.#unlooked];
    return { step: this.#step, half, structured, unlooked, seen: this.#seen.map((list) => [...list]) };
  }

  /** Moments of all factors, to be kept and restored. */
  get moments(): MomentsBook {
    const { shared, experts } = this.#optimisers;
    const isShared = ({ name }: Parameter) => this.#factors.roles.get(name) === 'shared';
    return {
      get moments() {
        return new Map([...shared.moments, ...experts.moments]);
      },
      momentsOf: (parameter) => (isShared(parameter) ? shared : experts).momentsOf(parameter),
    };
  }

  /**
   * @throws E_DIVERGED for NaN or infinity in a loss or a gradient, before anything is changed by it; E_ABORTED, E_OUT_OF_MEMORY, what hooks throw.
   *   Factors, moments and `progress` belong together whenever it has thrown
   */
  async run(signal?: AbortSignal): Promise<void> {
    try {
      await this.#phaseOne(signal);
      await this.#edit(signal);
    } finally {
      this.#trainable.train(() => false);
    }
  }

  dispose(): void {
    this.#optimisers.shared.dispose();
    this.#optimisers.experts.dispose();
  }

  async #phaseOne(signal: AbortSignal | undefined): Promise<void> {
    const { structureSteps: steps } = this.#settings;
    while (this.#step < steps) {
      const losses = await this.#structureStep(this.#step, TRAINED.phaseOne, 1, signal);
      this.#step++;
      if (losses) this.#hooks.onStep?.({ phase: 1, step: this.#step, steps, losses });
      // before what is known of it may be kept
      if (this.#step === steps) await this.#hooks.ledger?.switchPhases(signal);
      await this.#hooks.onRest?.(this.progress);
    }
  }

  /** @returns null where no token has a high entropy */
  async #structureStep(
    at: number,
    roles: readonly FactorRole[],
    warmth: number,
    signal: AbortSignal | undefined,
  ): Promise<PassLosses | null> {
    const { rows, invariance: factor, regulariser } = this.#settings;
    const { all, sources, draws } = this.#structure;
    const drawn = draws[at]!;
    const made = structureStep(
      Array.from(drawn, (i) => all[i]!),
      rows,
      { regulariser, order: this.#examples.order, factor },
    );
    if (made === null) return null;
    this.#train(roles);
    const from = Array.from(drawn, (i) => sources[i]!);
    return this.#update('structure', from, made, warmth, signal);
  }

  async #edit(signal: AbortSignal | undefined): Promise<void> {
    const { structureSteps, epochs, looks } = this.#settings;
    const steps = this.#batches(0).length;
    let known = { epoch: 0, list: this.#batches(0) };
    const batchOf = (at: number) => {
      const epoch = Math.floor(at / steps);
      if (known.epoch !== epoch) known = { epoch, list: this.#batches(epoch) };
      return known.list[at % steps]!;
    };
    for (;;) {
      const at = this.#step - structureSteps;
      if (this.#unlooked) {
        const end = (await this.#hooks.onLook?.({ epoch: at / steps, answers: this.#answers() })) === 'end';
        this.#unlooked = false;
        await this.#hooks.onRest?.(this.progress);
        if (end) return;
      }
      if (at >= epochs * steps) return;
      const { domain, sequences } = batchOf(at);
      const losses = await this.#editStep(at, domain, sequences, Math.min(1, (at + 1) / steps), signal);
      this.#step++;
      const due = (done: number) => Math.floor((done * looks) / steps);
      this.#unlooked = due(at + 1) > due(at) || at + 1 === epochs * steps;
      if (losses) this.#hooks.onStep?.({ phase: 2, step: at + 1, steps: epochs * steps, losses });
      if (!this.#unlooked) await this.#hooks.onRest?.(this.progress);
    }
  }

  /** @returns null where its expert rests, and nothing is retained */
  async #editStep(
    at: number,
    domain: number,
    sequences: readonly PruneSequence[],
    warmth: number,
    signal: AbortSignal | undefined,
  ): Promise<PassLosses | null> {
    const { schedule, rows, objective, mask, forgetting, retention, enough, retains } = this.#settings;
    let structure: PassLosses | null = null;
    if (schedule === 'interleaved' && !this.#half && !this.#structured) {
      structure = await this.#structureStep(at, TRAINED.shared, warmth, signal);
      this.#structured = true;
    }
    const known = this.#answers()[domain]!;
    let losses: PassLosses | null = null;
    if (!this.#half && (enough === null || known === null || known >= enough)) {
      this.#train(TRAINED.forget(this.#first + domain));
      const options = {
        expert: this.#first + domain,
        experts: this.#factors.experts,
        ...{ objective, mask, factor: forgetting },
      };
      const seen: number[] = [];
      const kind = forgetRole(options.expert);
      const from = sequences.map(() => kind);
      losses = await this.#update(kind, from, forgetStep(sequences, rows, options), warmth, signal, (probability) =>
        seen.push(probability),
      );
      for (const probability of seen) this.#see(domain, probability);
    }
    this.#half = retains;
    this.#structured = false;
    if (!retains) return losses;
    const { retain } = this.#examples;
    const kept = Array.from(retainDraw(this.#settings, at, retain.length), (i) => retain[i]!);
    this.#train(TRAINED.retain);
    const from = kept.map(() => 'retain' as const);
    const own = await this.#update('retain', from, retainStep(kept, rows, retention), warmth, signal);
    this.#half = false;
    const distillation = (losses?.distillation ?? 0) + (structure?.distillation ?? 0);
    return { ...own, hinge: losses?.hinge ?? 0, invariance: structure?.invariance ?? 0, distillation };
  }

  #train(roles: readonly FactorRole[]): void {
    this.#trainable.train(this.#factors.trained(roles));
  }

  /** One step of what is trained. @param tell the probability of each answer, before the step */
  async #update(
    kind: StepKind,
    sources: readonly SequenceSource[],
    step: PruneStep,
    warmth: number,
    signal: AbortSignal | undefined,
    tell?: (probability: number) => void,
  ): Promise<PassLosses> {
    throwIfAborted(signal);
    const run = () => this.#run(step, warmth, signal, tell);
    const { ledger } = this.#hooks;
    const losses = ledger ? await ledger.step({ kind, sources, tokens: step.tokens }, run, signal) : await run();
    await this.#pace.breathe();
    return losses;
  }

  async #run(
    { batches, penalty }: PruneStep,
    warmth: number,
    signal: AbortSignal | undefined,
    tell?: (probability: number) => void,
  ): Promise<PassLosses> {
    const { shared, experts } = this.#optimisers;
    this.#trainable.zeroGradients();
    const isShared = ({ name }: Parameter) => this.#factors.roles.get(name) === 'shared';
    if (penalty) await gradientPenalty(this.#trainable, penalty, isShared, { signal });
    let sum: PassLosses | null = null;
    for (const batch of batches) {
      const onRows =
        tell &&
        ((nll: Float32Array) => {
          const { sums, tokens } = sequenceSums(batch, nll);
          for (const [i, sum] of sums.entries()) if (tokens[i]! > 0) tell(Math.exp(-sum / tokens[i]!));
        });
      const losses = await this.#trainable.step(batch, { signal, onRows });
      sum = sum === null ? losses : added(sum, losses);
    }
    const norm = Math.hypot(await shared.norm(), await experts.norm());
    if (!Number.isFinite(norm) || !Object.values(sum!).every(Number.isFinite)) {
      throw diverged(`Pruning diverged: the norm of its gradient is ${norm}.`, null);
    }
    throwIfAborted(signal);
    shared.step(this.#settings.sharedRate * warmth, norm);
    experts.step(this.#settings.rate * warmth, norm);
    return sum!;
  }

  #batches(epoch: number): readonly ForgetBatch<PruneSequence>[] {
    return forgetBatches(this.#examples.forget, this.#settings, epoch);
  }

  #see(domain: number, probability: number): void {
    const seen = this.#seen[domain]!;
    seen.push(probability);
    if (seen.length > Math.ceil(this.#examples.forget[domain]!.length / Math.max(1, this.#settings.looks)))
      seen.shift();
  }

  #answers(): (number | null)[] {
    return this.#seen.map((seen) => (seen.length === 0 ? null : seen.reduce((sum, one) => sum + one, 0) / seen.length));
  }
}

function added(a: PassLosses, b: PassLosses): PassLosses {
  const sum = Object.keys(a).map((key) => [key, a[key as keyof PassLosses] + b[key as keyof PassLosses]]);
  return Object.fromEntries(sum) as unknown as PassLosses;
}
