import type { RoutedMatrix } from '../../checkpoint/adapter/routed-write.ts';
import { arithmeticOf } from '../../device/open-device.ts';
import type { TrainDevice } from '../../device/train-device.ts';
import { EspalierError } from '../../errors.ts';
import { Decoder } from '../../model/decoder.ts';
import { loadWeights } from '../../model/weights.ts';
import type { OutputFolder } from '../../runtime/output/output.ts';
import { DecoderReference } from '../../train/decoder-reference.ts';
import { DecoderTrainable } from '../../train/decoder-trainable.ts';
import { packStep } from '../../train/packing.ts';
import type { Identity, SavedState } from '../../train/state/description.ts';
import { checkIdentity, States } from '../../train/state/states.ts';
import { lookedAt } from '../../train/trainer.ts';
import { AsymmetricFactors } from '../adapter/factors.ts';
import { type Candidate, type ChoiceRule, distanceOf, isBetter, isOver, strengthsFor } from '../choice/choice.ts';
import { structureCount } from '../edit/draws.ts';
import { TwoPhases } from '../edit/two-phases.ts';
import { actingBatches, batchLogProbabilities, meanProbability } from '../measure/answers.ts';
import { IsolationLedger, type IsolationSubject } from '../proof/isolation.ts';
import type { IsolationReceipt } from '../proof/receipt.ts';
import type { EditProgress } from './edit-progress.ts';
import type { Measured } from './measure.ts';
import type { PreparedPrune } from './prepare.ts';

/** The adapter that was chosen. */
export interface Edited {
  readonly matrices: readonly RoutedMatrix[];
  readonly scale: number;
  readonly progress: EditProgress;
  readonly best: Candidate;
  readonly parameters: number;
  readonly isolation: IsolationReceipt;
}

export interface EditOptions {
  readonly out: OutputFolder;
  readonly saved: SavedState<EditProgress> | null;
  readonly identity: Omit<Identity, 'model'>;
  readonly saveEvery: number;
  readonly signal?: AbortSignal | undefined;
  readonly onLoading: (done: number, total: number) => void;
  readonly onStep: (done: number, total: number, answers: number | null) => void;
  readonly onLook: (done: number, total: number) => void;
  readonly onSaving: (done: number, total: number) => void;
  /** Is told what each look has seen, may read the factors as they stand, at full strength, and may end both phases. */
  readonly onLooked?: (list: readonly Candidate[], factors: AsymmetricFactors) => Promise<'end' | undefined>;
}

/** Answers that training has just found as probable as this are not forgotten: there is nothing to look at. */
const FAR = 0.5;
/** Seconds after which a state is kept, however few steps were done. */
const LONGEST = 60;

/**
 * Both phases, with looks at what could be left, and the best of it.
 * @returns with the digest of the model in `identity`
 * @throws as `TwoPhases.run` and `States`; E_DATA_INVALID where no look came about
 */
export async function edit(
  job: PreparedPrune,
  measured: Measured,
  device: TrainDevice,
  options: EditOptions,
): Promise<Edited & { readonly identity: Identity }> {
  const { plan, checkpoint, digests, earlier } = job;
  const { saved, signal, saveEvery } = options;
  const first = earlier?.experts.length ?? 0;
  const factors = new AsymmetricFactors(device, checkpoint.config, {
    ...{ rank: plan.rank, alpha: plan.alpha, rslora: false, targets: plan.targets, seed: plan.seed },
    experts: first + measured.domains.count,
  });
  let trainable: DecoderTrainable | null = null;
  let reference: Decoder | null = null;
  let phases: TwoPhases | null = null;
  try {
    if (earlier) factors.load(device, earlier.factors);
    reference = await referenceOf(job, device, signal);
    trainable = await DecoderTrainable.load(device, digests.checkpoint, {
      signal,
      ...(reference && { reference: new DecoderReference(reference) }),
      trainable: () => false,
      adapter: factors,
      onProgress: options.onLoading,
    });
    const model = trainable;
    const identity: Identity = { ...options.identity, model: await digests.identity() };
    if (saved) checkIdentity(saved, identity, options.out.name);
    const states = new States<EditProgress>(options.out, identity, arithmeticOf(device));
    const began = performance.now();
    const spent = saved?.progress.seconds ?? 0;
    let facts: Pick<EditProgress, 'looks' | 'means' | 'best' | 'ended'> = saved?.progress ?? {
      looks: [],
      means: [],
      best: null,
      ended: false,
    };
    let answers: number | null = null;
    let ledger: IsolationLedger | null = null;
    const progress = (): EditProgress => ({
      ...phases!.progress,
      ...{ looks: facts.looks, means: facts.means, best: facts.best, ended: facts.ended },
      seconds: spent + (performance.now() - began) / 1000,
      isolation: ledger!.state(),
    });
    let kept = { step: saved?.progress.step ?? 0, at: performance.now() };
    const save = async (): Promise<void> => {
      if (saveEvery === 0) return;
      options.onSaving(phases!.progress.step, phases!.steps);
      await states.save(model, phases!.moments, progress());
      kept = { step: phases!.progress.step, at: performance.now() };
    };
    const subject: IsolationSubject = {
      device,
      parameters: model.parameters,
      roles: factors.roles,
      base: model.baseWeights,
    };
    // what is restored is compared with what was known of it
    if (!saved) ledger = await IsolationLedger.begin(subject, {}, signal);
    const rule: ChoiceRule = { objective: plan.objective, before: measured.before, target: measured.target };
    const enough = plan.enough ?? (measured.domains.count > 1 ? meanProbability(measured.target.answers) : null);
    phases = new TwoPhases(
      model,
      factors,
      {
        ...{ forget: measured.forget, retain: measured.retain, order: plan.structureOrder },
        earlier: first,
      },
      phaseOptions(plan, enough),
      {
        ledger: {
          step: (step, run, abort) => ledger!.step(step, run, abort),
          switchPhases: (abort) => ledger!.switchPhases(abort),
        },
        onStep: ({ phase, step, steps }) => {
          const done = phase === 1 ? step : plan.structureSteps + step;
          options.onStep(done, phase === 1 ? phases!.steps : plan.structureSteps + steps, answers);
        },
        onLook: async ({ epoch, answers: seen }) => {
          if (epoch < plan.epochs && seen.every((own) => own !== null && own > FAR)) {
            answers = seen.reduce<number>((most, own) => Math.max(most, own!), 0);
            return undefined;
          }
          const { list, mean } = await look(job, measured, model, first, {
            ...options,
            epoch,
            step: phases!.progress.step,
            number: facts.looks.length + 1,
          });
          const told = await options.onLooked?.(list, factors);
          answers = list[0]!.forget;
          const means = [...facts.means, mean];
          let { best } = facts;
          for (const candidate of list) {
            if (best === null || isBetter(candidate, best, rule)) best = candidate;
          }
          if (best !== facts.best && best!.look === facts.looks.length + 1) {
            await states.saveBest(model, { step: phases!.progress.step });
          }
          const ended = told === 'end' || isOver(means, list, rule);
          facts = { looks: [...facts.looks, list], means, best, ended };
          return ended ? 'end' : undefined;
        },
        onRest: async ({ step }) => {
          const due = step - kept.step >= saveEvery || performance.now() - kept.at > LONGEST * 1000;
          if (due && saveEvery > 0) await save();
        },
      },
      saved?.progress,
    );
    if (saved) {
      await states.restore(saved, model, phases.moments);
      ledger = await IsolationLedger.from(saved.progress.isolation, subject, {}, signal);
    }
    try {
      if (!facts.ended) {
        await phases.run(signal);
        await ledger!.end(signal);
      }
    } catch (error) {
      // whatever it was, what is done is kept, and what went wrong is told
      if (error instanceof EspalierError && error.code === 'E_ABORTED') await save();
      throw error;
    }
    if (facts.best === null) {
      throw new EspalierError('E_DATA_INVALID', 'No look came about.', 'Give more epochs, or more looks in each.');
    }
    facts = { ...facts, ended: true };
    // what comes may fail, or be ended
    await save();
    await states.restoreBest(model);
    await ledger!.chosen(signal);
    return {
      matrices: await factors.matrices(device),
      scale: factors.scale,
      progress: progress(),
      best: facts.best!,
      parameters: factors.factors.reduce((sum, { shape }) => sum + shape.reduce((x, y) => x * y, 1), 0),
      isolation: ledger!.receipt(),
      identity,
    };
  } finally {
    phases?.dispose();
    reference?.dispose();
    if (trainable) trainable.dispose();
    else factors.dispose();
  }
}

function phaseOptions(plan: PreparedPrune['plan'], enough: number | null) {
  const { batch, rows, schedule, structureSteps, epochs, sharedRate, rate, forgetting, retention, retains } = plan;
  const { regulariser, invariance, objective, mask, clip, looks, seed } = plan;
  return {
    ...{ batch, rows, schedule, structureSteps, epochs, sharedRate, rate, forgetting, retention, retains },
    ...{ regulariser, invariance, objective, mask, clip, looks, seed, enough },
  };
}

/** What Phase I shall not diverge from and Phase II comes to, where that is asked for: the base, or the model as it is. */
export async function referenceOf(
  { plan, base, checkpoint }: PreparedPrune,
  device: TrainDevice,
  signal: AbortSignal | undefined,
): Promise<Decoder | null> {
  const keeps = plan.regulariser === 'kl' && structureCount(plan, 1) > 0 && plan.invariance > 0;
  if (!keeps && plan.objective === 'hinge') return null;
  const from = base?.checkpoint ?? checkpoint;
  return new Decoder(device, from.config, await loadWeights(device, from, { signal }), 'exact');
}

/** What the adapter does as it is, with its experts weaker and stronger where that is near to what is aimed at. */
async function look(
  { plan }: PreparedPrune,
  { sample, target, domains }: Measured,
  trainable: DecoderTrainable,
  first: number,
  at: Pick<EditOptions, 'signal' | 'onLook'> & {
    readonly step: number;
    readonly epoch: number;
    readonly number: number;
  },
): Promise<{ readonly list: readonly Candidate[]; readonly mean: number }> {
  const { signal } = at;
  const experts = first + domains.count;
  const measured = (batches: Parameters<typeof batchLogProbabilities>[1]) =>
    lookedAt(at.step, () => batchLogProbabilities(trainable, batches, { signal }));
  const forgets = (strength: number) =>
    measured(
      actingBatches(sample.forget, plan.rows, (i) => {
        const coefficients = new Float32Array(experts);
        coefficients[first + sample.domains[i]!] = strength;
        return coefficients;
      }),
    );
  const done = (count: number) => at.onLook(count, 2 + plan.strengths.length);
  done(0);
  const whole = await forgets(1);
  done(1);
  const retain = meanProbability(await measured(packStep(sample.retain, plan.rows)));
  const candidate = (strength: number, answers: Float64Array): Candidate => ({
    ...{ look: at.number, epoch: at.epoch, strength, retain },
    forget: meanProbability(answers),
    distance: distanceOf(answers, target),
  });
  const list = [candidate(1, whole)];
  for (const [i, strength] of strengthsFor(whole, target, plan.strengths).entries()) {
    done(2 + i);
    list.push(candidate(strength, await forgets(strength)));
  }
  return { list, mean: whole.reduce((sum, x) => sum + x, 0) / whole.length };
}
