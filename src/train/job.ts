import { writeJson } from '../checkpoint/write/small-files.ts';
import { arithmeticOf, jobDevice, kindOf, openTrainDevice } from '../device/open-device.ts';
import { EspalierError, throwIfAborted } from '../errors.ts';
import { checked } from '../options/check.ts';
import { sha256 } from '../runtime/files/hash.ts';
import type { ModelTarget } from '../runtime/files/model-files.ts';
import { jobLanes } from '../runtime/host/lane-count.ts';
import { outputOf } from '../runtime/output/options.ts';
import type { OutputFolder } from '../runtime/output/output.ts';
import type { DecoderTrainable } from './decoder-trainable.ts';
import { checkTrained, FreezePlan } from './freeze.ts';
import { type Loaded, load } from './load.ts';
import { type PlanTrainOptions, planTrainOptions, type TrainOptions, trainOptions } from './options.ts';
import { checkMemory, type MemoryPlan } from './plan/memory.ts';
import type { ResolvedPlan, TrainPlan } from './plan/recipe.ts';
import { adviceOf, roomOf, trainWork } from './plan/room.ts';
import { type DataFacts, type Prepared, prepare } from './prepare.ts';
import { Telling } from './progress.ts';
import { RouterStatistics } from './router-statistics.ts';
import type { Identity } from './state/description.ts';
import { earlierReceipt, earlierState, intoKept, resultFiles } from './state/earlier.ts';
import { trainingProgress } from './state/progress.ts';
import { checkSpace } from './state/space.ts';
import { checkIdentity, clearStates, States } from './state/states.ts';
import { Trainer, type TrainerSettings } from './trainer.ts';
import { receiptOf, TRAINING_FILE, type TrainReceipt } from './write/receipt.ts';
import { sizeOfResult, writeResult } from './write/result.ts';

/** What a training will do and take, before anything is loaded. */
export interface PlannedTraining {
  readonly options: TrainPlan;
  readonly data: DataFacts;
  readonly steps: number;
  /** Of the model, and those that are trained at some time. */
  readonly parameters: number;
  readonly trained: number;
  readonly memory: MemoryPlan;
  /** Where that is beyond its limit, options with which it is not; null: it fits. */
  readonly advice: string | null;
  /** Of a state that is kept, and of the result: bytes. */
  readonly stateBytes: number;
  readonly resultBytes: number;
  /** Bytes free at the destination, where the host says. */
  readonly freeBytes: number | null;
}

/**
 * Steps, parameters and memory of a training, from its data and the header of the model.
 * @throws as `train` for what can be found before work begins, but for a want of memory, which it tells
 */
export async function planTrain(
  source: ModelTarget,
  given: PlanTrainOptions & { readonly out?: TrainOptions['out'] } = {},
): Promise<PlannedTraining> {
  const options = checked<typeof given>(planTrainOptions, given, 'planTrain');
  const job = await prepare(source, options);
  let out: OutputFolder | null = null;
  try {
    out = options.out === undefined ? null : await outputOf(options.out);
    return { ...(await planned(job, options)), freeBytes: (await out?.free()) ?? null };
  } finally {
    // an output of the caller’s own stays his
    if (out !== options.out) await out?.release();
    await job.close();
  }
}

/**
 * Trains a model on examples: all of its weights, or an adapter (LoRA). Into a folder, a training that was interrupted goes on where its last
 * state was kept when it is called again with the same arguments, on the same kind of device, and comes to the same bits in the same runtime, for any
 * number of lanes.
 *
 * @returns the receipt, which also lies in the folder as `espalier-training.json`
 * @throws E_ARGUMENT for options out of range, and where the folder holds another unfinished training; E_DATA_INVALID with file and line;
 *   E_OUT_OF_MEMORY before work begins, and later; E_TENSOR_VALUE for NaN in the model; E_DIVERGED; E_STORAGE_FULL, E_FILE_WRITE; what
 *   opening the source throws; E_ABORTED, after the state was kept. The last state stays in the folder then; nothing has its final
 *   name before all of it is written
 */
export async function train(source: ModelTarget, given: TrainOptions): Promise<TrainReceipt> {
  const options = checked<TrainOptions>(trainOptions, given, 'train');
  if (options.out === undefined) {
    throw new EspalierError('E_ARGUMENT', 'There is no out to write to.', "Give a folder, or memoryOutput('result').");
  }
  throwIfAborted(options.signal);
  const telling = new Telling(options.onProgress);
  // what is there already is known before data are read
  return intoKept(options.out, async (out) => {
    const job = await prepare(source, options, (done, total) => telling.tell('reading', done, total));
    try {
      const plan = await planned(job, options);
      checkMemory(plan.memory, plan.advice ?? '');
      const restart = options.restart ?? false;
      const receipt =
        (restart ? null : await finished(out, job, options)) ?? (await trained(job, options, plan, out, telling));
      await clearStates(out);
      return receipt;
    } finally {
      await job.close();
    }
  });
}

async function trained(
  job: Prepared,
  options: TrainOptions,
  planned: Omit<PlannedTraining, 'freeBytes'>,
  out: OutputFolder,
  telling: Telling,
): Promise<TrainReceipt> {
  const { plan, steps, facts, checkpoint, digests } = job;
  const { signal, saveEvery = trainOptions.saveEvery.default, dtype = trainOptions.dtype.default } = options;
  const known = { options: optionsOf(job), data: facts.digest };
  const saved = await earlierState(out, known, {
    restart: options.restart ?? false,
    progress: trainingProgress,
  });
  // with patience the best weights stand beside a state
  const bestBytes = plan.patience === null ? 0 : 4 * planned.trained;
  await checkSpace(out, { ...planned, bestBytes, saveEvery, saved });
  const lanes = await jobLanes(options.lanes);
  const device = await openTrainDevice(
    {
      device: await jobDevice(options.device, trainWork(job), saved && kindOf(saved.device)),
      lanes,
      ...(options.memoryLimit === undefined ? {} : { memoryLimit: options.memoryLimit }),
      ...(options.wasmLocation === undefined ? {} : { wasmLocation: new URL(options.wasmLocation) }),
    },
    saved?.device,
  );
  let loaded: Loaded | null = null;
  let trainer: Trainer | null = null;
  try {
    const onProgress = (done: number, total: number) => telling.tell('loading', done, total);
    loaded = await load(job, device, { signal, onProgress, hashed: true });
    const { trainable: model, factors } = loaded;
    const digest = await digests.identity();
    const reference = (await job.reference?.digests.identity()) ?? null;
    const identity: Identity = { ...known, model: reference === null ? digest : `${digest} ${reference}` };
    if (saved) checkIdentity(saved, identity, out.name);
    const states = new States(out, identity, arithmeticOf(device));
    trainer = new Trainer(
      model,
      job.source,
      job.heldOut,
      settingsOf(job, saveEvery),
      {
        onStep: (report) => telling.step(report),
        onHeldOut: (loss) => telling.heldOut(loss),
        onEvaluating: (done) => telling.evaluating(done),
        ...(checkpoint.config.moe && { watchRouting: () => new RouterStatistics(device, checkpoint.config) }),
        ...(saveEvery > 0 && {
          save: async (progress) => {
            telling.tell('saving', progress.step, steps);
            await states.save(model, trainer!.optimiser, progress);
          },
        }),
        ...(plan.patience !== null && { keepBest: (progress) => states.saveBest(model, progress) }),
      },
      saved?.progress,
    );
    if (saved) await states.restore(saved, model, trainer.optimiser);
    telling.begin(trainer.progress, steps);
    await trainer.run(signal);
    // what comes may fail for want of space
    await trainer.save();
    if (plan.patience !== null) await states.restoreBest(model);
    await writeResult(out, {
      files: job.files,
      checkpoint,
      trainable: model,
      factors,
      plan,
      dtype,
      identity: await sha256(JSON.stringify([identity, trainer.progress.step])),
      signal,
      onProgress: (done, total) => telling.tell('writing', done, total),
    });
    const receipt = receiptOf({
      checkpoint,
      digest,
      reference,
      data: facts,
      plan: known.options,
      dtype,
      parameters: planned.trained,
      progress: trainer.progress,
      peakBytes: device.stats().peakBytes,
      device: device.description,
      files: await resultFiles(out),
    });
    await writeJson(out, TRAINING_FILE, receipt);
    return receipt;
  } finally {
    trainer?.dispose();
    loaded?.dispose();
    device.close();
  }
}

/** All that decides what is computed, beside model and data. */
function optionsOf({ plan, steps, evaluateEvery }: Prepared): ResolvedPlan {
  return { ...plan, steps, evaluateEvery };
}

/** The receipt of an earlier run that wrote its result to the end, and was ended before the folder got its name. */
async function finished(
  out: OutputFolder,
  job: Prepared,
  { dtype = trainOptions.dtype.default, signal }: TrainOptions,
): Promise<TrainReceipt | null> {
  const receipt = await earlierReceipt<TrainReceipt>(out, TRAINING_FILE);
  if (receipt === null || (await States.latest(out, trainingProgress)) !== null) return null;
  const told = (one: Partial<Pick<TrainReceipt, 'options' | 'data' | 'dtype'>>) =>
    JSON.stringify([one.options, one.data, one.dtype]);
  if (told(receipt) !== told({ options: optionsOf(job), data: job.facts, dtype })) return null;
  const reference = (await job.reference?.digests.loadedIdentity(signal)) ?? null;
  if (receipt.reference !== reference) return null;
  const digest = await job.digests.loadedIdentity(signal);
  return receipt.source?.digest === digest ? (receipt as TrainReceipt) : null;
}

function settingsOf({ plan, steps, warmup, evaluateEvery, reference }: Prepared, saveEvery: number): TrainerSettings {
  const { schedule: kind, learningRate: peak, clip, zLoss: z } = plan;
  return {
    ...plan,
    clip: clip === 0 ? null : clip,
    schedule: { kind, peak, warmup, steps },
    z,
    measureDivergence: reference !== null,
    evaluateEvery,
    saveEvery,
  };
}

async function planned(job: Prepared, options: PlanTrainOptions): Promise<Omit<PlannedTraining, 'freeBytes'>> {
  const { plan, steps, facts, checkpoint } = job;
  const { dtype = trainOptions.dtype.default } = options;
  const { plan: memory, trainable } = await roomOf(job, options);
  checkFreeze(job, trainable);
  const trained = count(trainable.parameters);
  const moments = trained;
  return {
    options: plan,
    data: facts,
    steps,
    parameters: count([...checkpoint.tensors.values()]),
    trained,
    memory,
    advice: await adviceOf(job, options, memory),
    stateBytes: 4 * (trained + 2 * moments),
    resultBytes: await sizeOfResult({ files: job.files, checkpoint, trainable, plan, dtype }),
  };
}

/** @throws E_ARGUMENT for a pattern that nothing is called by, and where nothing is left to train at first: later it is only more */
function checkFreeze({ plan, steps, checkpoint }: Prepared, { parameters }: DecoderTrainable): void {
  const names = [...parameters.map(({ name }) => name)];
  if (plan.lora === null) {
    for (const name of checkpoint.tensors.keys()) names.push(name.replace(/\.experts\.\d+\./, '.experts.'));
  }
  const [wrong] = FreezePlan.unmatched(plan.freeze, names);
  if (wrong !== undefined) {
    throw new EspalierError(
      'E_ARGUMENT',
      `freeze names ${wrong}, and no parameter is called so.`,
      `They are called like ${names[0]}; * stands for any characters.`,
    );
  }
  const freeze = new FreezePlan(plan.freeze, steps);
  checkTrained(
    parameters.some(({ name }) => freeze.trains(name, 0)),
    0,
  );
}

function count(list: readonly { readonly shape: readonly number[] }[]): number {
  return list.reduce((sum, { shape }) => sum + shape.reduce((product, n) => product * n, 1), 0);
}
