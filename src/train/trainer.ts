import { EspalierError, throwIfAborted } from '../errors.ts';
import { Pace } from '../runtime/host/yielding.ts';
import { Curve, type CurveData } from './curve.ts';
import { checkTrained, FreezePlan, type FreezeStage } from './freeze.ts';
import { type AdamSettings, AdamW } from './optimiser.ts';
import type { LayerRouting, RouterStatistics } from './router-statistics.ts';
import { rateAt, type Schedule } from './schedule.ts';
import type { HeldOutSource, StepSource } from './sources.ts';
import type { PassLosses, Trainable } from './trainable.ts';

export interface TrainerSettings extends AdamSettings {
  readonly schedule: Schedule;
  readonly freeze: readonly FreezeStage[];
  /** Factors of load balance, router z-loss and KL divergence from the reference. */
  readonly balance: number;
  readonly z: number;
  readonly divergence: number;
  readonly recompute: boolean;
  /** Whether the divergence from the reference is measured on what is held out. */
  readonly measureDivergence?: boolean;
  /** Steps between two looks at what is held out, beside those before the first and behind the last; 0: no others. */
  readonly evaluateEvery: number;
  /** Ends when so many looks in a row have found nothing better; null: never. */
  readonly patience: number | null;
  /** Steps between two states that are kept, where they take less than ten minutes; 0: none. */
  readonly saveEvery: number;
}

/** How far a training is: what must be remembered to go on, beside weights and moments. */
export interface TrainingProgress {
  /** Steps that are done. */
  readonly step: number;
  /** Rows of all batches so far, and those of them that had a target. */
  readonly tokens: number;
  readonly targets: number;
  /** Of work, loading left out. */
  readonly seconds: number;
  /** Cross-entropy of the first and of the last step, in nats a target. */
  readonly firstLoss: number | null;
  readonly lastLoss: number | null;
  readonly curve: CurveData;
  readonly heldOut: readonly HeldOutLoss[];
  /** The least of them. */
  readonly best: HeldOutLoss | null;
  /** Whether `patience` has ended it. */
  readonly stopped: boolean;
  /** Where the source of its steps stands; null: at its beginning. */
  readonly position: unknown;
}

export interface HeldOutLoss {
  /** Steps done before it. */
  readonly step: number;
  readonly loss: number;
  /** KL divergence from the reference in nats a target, where it is measured. */
  readonly divergence?: number;
  /** What experts did, by layer, where they are watched. */
  readonly routing?: readonly LayerRouting[];
}

/** One step, as it is told. */
export interface StepReport {
  /** Steps done with it, and in all. */
  readonly step: number;
  readonly steps: number;
  readonly losses: PassLosses;
  readonly rate: number;
  readonly gradientNorm: number;
  readonly tokens: number;
  readonly seconds: number;
}

export interface TrainerHooks {
  /** Keeps the state after `progress.step` steps; called where that state is known to give finite losses, and when an abort comes. */
  readonly save?: (progress: TrainingProgress) => Promise<void>;
  /** Keeps the weights of the best held-out loss so far. */
  readonly keepBest?: (progress: TrainingProgress) => Promise<void>;
  readonly onStep?: (report: StepReport) => void;
  /** Batches of what is held out that were looked at. */
  readonly onEvaluating?: (done: number) => void;
  readonly onHeldOut?: (loss: HeldOutLoss) => void;
  /** Watches the experts during one look at what is held out. */
  readonly watchRouting?: () => RouterStatistics;
}

/** Milliseconds after which a state is kept, however few steps there were: as much work may be lost. */
const PATIENCE = 600_000;

const START: TrainingProgress = {
  step: 0,
  tokens: 0,
  targets: 0,
  seconds: 0,
  firstLoss: null,
  lastLoss: null,
  curve: new Curve().data(),
  heldOut: [],
  best: null,
  stopped: false,
  position: null,
};

/** Trains: steps of several batches, a schedule, freeze stages, looks at held-out data. What it computes depends on its arguments alone. */
export class Trainer {
  readonly optimiser: AdamW;
  readonly #trainable: Trainable;
  readonly #source: StepSource;
  readonly #heldOut: HeldOutSource | null;
  readonly #settings: TrainerSettings;
  readonly #hooks: TrainerHooks;
  readonly #freeze: FreezePlan;
  readonly #curve: Curve;
  readonly #pace = new Pace();
  #progress: TrainingProgress;
  #stage = -1;
  /** Of what step a state was kept last, and when. */
  #saved: number;
  #savedAt = performance.now();
  #clock = performance.now();

  /** @param from how far an earlier run came; weights and moments are its own already, see `optimiser` */
  constructor(
    trainable: Trainable,
    source: StepSource,
    heldOut: HeldOutSource | null,
    settings: TrainerSettings,
    hooks: TrainerHooks = {},
    from: TrainingProgress = START,
  ) {
    this.#trainable = trainable;
    this.#source = source;
    this.#heldOut = heldOut;
    this.#settings = settings;
    this.#hooks = hooks;
    this.#freeze = new FreezePlan(settings.freeze, settings.schedule.steps);
    this.optimiser = new AdamW(trainable, settings);
    this.#curve = new Curve(from.curve);
    this.#progress = from;
    this.#saved = from.step;
    if (from.position !== null) source.restore(from.position);
  }

  get progress(): TrainingProgress {
    return { ...this.#progress, curve: this.#curve.data() };
  }

  /**
   * Trains to the end.
   * @throws E_DIVERGED for NaN or infinity in a loss or a gradient: weights are as they were before that step, and no state is kept of
   *   them; E_ABORTED, after the state was kept; E_ARGUMENT where all is frozen; what the trainable and the hooks throw
   */
  async run(signal?: AbortSignal): Promise<TrainingProgress> {
    const { steps } = this.#settings.schedule;
    this.#clock = performance.now();
    try {
      while (this.#progress.step < steps && !this.#progress.stopped) {
        await this.#evaluateIfDue(signal);
        if (this.#progress.stopped) break;
        await this.#step(signal);
        await this.#pace.breathe();
      }
      await this.#evaluate(signal);
    } catch (error) {
      if (error instanceof EspalierError && error.code === 'E_ABORTED') await this.#saveAborted();
      throw error;
    }
    return this.progress;
  }

  async #step(signal: AbortSignal | undefined): Promise<void> {
    const { step } = this.#progress;
    const { schedule, saveEvery } = this.#settings;
    throwIfAborted(signal);
    this.#enterStage(step);
    const { batches, tokens, targets } = await this.#source.next(signal);
    this.#trainable.zeroGradients();
    const losses: { -readonly [L in keyof PassLosses]: number } = {
      crossEntropy: 0,
      balance: 0,
      z: 0,
      divergence: 0,
      hinge: 0,
      invariance: 0,
      distillation: 0,
      steering: 0,
    };
    for (const batch of batches) {
      const share = batch.ids.length / tokens;
      const { recompute, balance, z, divergence } = this.#settings;
      const options = { signal, recompute, balance: balance * share, z: z * share, divergence };
      const own = await this.#trainable.step(batch, options);
      for (const name of Object.keys(losses) as (keyof PassLosses)[]) {
        losses[name] += own[name] * (LOSSES[name].over === 'rows' ? share : 1);
      }
    }
    const gradientNorm = await this.optimiser.norm();
    this.#checkFinite(losses, gradientNorm);
    throwIfAborted(signal);
    // only now it is known that what the last step made computes numbers
    if (saveEvery > 0 && (step % saveEvery === 0 || performance.now() - this.#savedAt > PATIENCE)) await this.save();
    const rate = rateAt(schedule, step);
    this.optimiser.step(rate, gradientNorm);
    this.#curve.add(losses.crossEntropy);
    const seconds = this.#lap();
    this.#progress = {
      ...this.#progress,
      step: step + 1,
      tokens: this.#progress.tokens + tokens,
      targets: this.#progress.targets + targets,
      seconds: this.#progress.seconds + seconds,
      firstLoss: this.#progress.firstLoss ?? losses.crossEntropy,
      lastLoss: losses.crossEntropy,
      position: this.#source.state,
    };
    const { steps } = schedule;
    this.#hooks.onStep?.({ step: step + 1, steps, losses, rate, gradientNorm, tokens, seconds });
  }

  /** Chooses what is trained where a stage begins. @throws E_ARGUMENT */
  #enterStage(step: number): void {
    const stage = this.#freeze.stageAt(step);
    if (stage === this.#stage) return;
    this.#trainable.train(({ name }) => this.#freeze.trains(name, step));
    checkTrained(
      this.#trainable.parameters.some(({ gradient }) => gradient !== null),
      step,
    );
    this.#stage = stage;
  }

  #checkFinite(losses: PassLosses, norm: number): void {
    const wrong = Object.entries(losses).find(([, loss]) => !Number.isFinite(loss));
    if (wrong === undefined && Number.isFinite(norm)) return;
    const what = wrong
      ? `its ${LOSSES[wrong[0] as keyof PassLosses].name} is ${wrong[1]}`
      : `its gradient's norm is ${norm}`;
    throw diverged(`Training diverged in step ${this.#progress.step + 1}: ${what}.`, this.#saved);
  }

  async #evaluateIfDue(signal: AbortSignal | undefined): Promise<void> {
    const { step } = this.#progress;
    const { evaluateEvery, patience } = this.#settings;
    if (step > 0 && (evaluateEvery === 0 || step % evaluateEvery > 0)) return;
    await this.#evaluate(signal);
    const { best } = this.#progress;
    if (patience === null || best === null) return;
    const since = this.#progress.heldOut.filter((loss) => loss.step > best.step).length;
    if (since >= patience) this.#progress = { ...this.#progress, stopped: true };
  }

  /** Looks at what is held out, unless it was just done. */
  async #evaluate(signal: AbortSignal | undefined): Promise<void> {
    const { step, heldOut, best } = this.#progress;
    if (this.#heldOut === null || heldOut.at(-1)?.step === step) return;
    const { measureDivergence = false } = this.#settings;
    const routing = this.#hooks.watchRouting?.();
    const options = { signal, divergence: measureDivergence ? 1 : 0, onMixture: routing?.watch };
    let [sum, divergence, weight] = [0, 0, 0];
    let done = 0;
    for await (const batch of this.#heldOut.batches()) {
      throwIfAborted(signal);
      const losses = await this.#trainable.evaluate(batch, options);
      sum += losses.crossEntropy;
      divergence += losses.divergence;
      for (const own of batch.weights) weight += own;
      this.#hooks.onEvaluating?.(++done);
      await this.#pace.breathe();
    }
    if (weight === 0) {
      throw new EspalierError('E_DATA_INVALID', 'Nothing that is held out has a target.', 'Hold out other examples.');
    }
    const found: HeldOutLoss = {
      step,
      loss: sum / weight,
      ...(measureDivergence && { divergence: divergence / weight }),
      ...(routing && { routing: await routing.layers() }),
    };
    if (!Number.isFinite(found.loss)) {
      throw diverged(
        `Training diverged: after step ${step} the loss of what is held out is ${found.loss}.`,
        this.#saved,
      );
    }
    const isBest = best === null || found.loss < best.loss;
    this.#progress = {
      ...this.#progress,
      heldOut: [...heldOut, found],
      best: isBest ? found : best,
      seconds: this.#progress.seconds + this.#lap(),
    };
    if (isBest) await this.#hooks.keepBest?.(this.progress);
    this.#hooks.onHeldOut?.(found);
  }

  /** Keeps the state as it is now, unless that was done. @throws what the hook throws: E_DIVERGED for weights that are no numbers */
  async save(): Promise<void> {
    if (this.#progress.step <= this.#saved) return;
    await this.#hooks.save?.(this.progress);
    this.#saved = this.#progress.step;
    this.#savedAt = performance.now();
  }

  /** Of weights that came out of their last step broken no state is kept, and the one before stays. */
  async #saveAborted(): Promise<void> {
    try {
      await this.save();
    } catch (error) {
      if (!(error instanceof EspalierError && error.code === 'E_DIVERGED')) throw error;
    }
  }

  /** Seconds since the last call. */
  #lap(): number {
    const now = performance.now();
    const seconds = (now - this.#clock) / 1000;
    this.#clock = now;
    return seconds;
  }

  dispose(): void {
    this.optimiser.dispose();
  }
}

/** What losses are called, and whether a batch's is a mean over its rows or a sum of its own weights. */
const LOSSES: Readonly<Record<keyof PassLosses, { readonly name: string; readonly over: 'rows' | 'weights' }>> = {
  crossEntropy: { name: 'cross-entropy', over: 'weights' },
  balance: { name: 'load balance loss', over: 'rows' },
  z: { name: 'router z-loss', over: 'rows' },
  divergence: { name: 'divergence from the reference', over: 'weights' },
  hinge: { name: 'hinge loss', over: 'weights' },
  invariance: { name: 'change of entropy', over: 'weights' },
  distillation: { name: 'distillation loss', over: 'weights' },
  steering: { name: 'steering loss', over: 'weights' },
};

/** @param kept the step of the state that is kept; 0: none is; null: whoever asks keeps none, or tells it himself */
export function diverged(what: string, kept: number | null): EspalierError {
  const state = kept === null ? '' : kept > 0 ? `The state of step ${kept} is kept. ` : 'No state is kept yet. ';
  return new EspalierError(
    'E_DIVERGED',
    what,
    `${state}Start anew with a lower learning rate${kept === null ? '' : ', a longer warm-up or stronger clipping'}.`,
  );
}

/**
 * Looks at what a training has made. What is no number then is no fault of the model that it began with.
 * @param step how many are done; 0: it is that model
 * @throws E_DIVERGED in place of E_TENSOR_VALUE; what `look` throws
 */
export async function lookedAt<T>(step: number, look: () => Promise<T>): Promise<T> {
  try {
    return await look();
  } catch (error) {
    if (step === 0 || !(error instanceof EspalierError && error.code === 'E_TENSOR_VALUE')) throw error;
    throw diverged(`Training diverged: after step ${step} what the model computes is no number.`, null);
  }
}
