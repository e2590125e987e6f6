import { routedFiles } from '../../checkpoint/adapter/routed-write.ts';
import { writeJson } from '../../checkpoint/write/small-files.ts';
import { jobDevice, kindOf, openTrainDevice } from '../../device/open-device.ts';
import type { TrainDevice } from '../../device/train-device.ts';
import { EspalierError, throwIfAborted } from '../../errors.ts';
import { checked } from '../../options/check.ts';
import { createHasher } from '../../runtime/files/hash.ts';
import type { ModelTarget } from '../../runtime/files/model-files.ts';
import type { OutputFolder } from '../../runtime/output/output.ts';
import { trainOptions } from '../../train/options.ts';
import { trainWork } from '../../train/plan/room.ts';
import type { Identity, SavedState } from '../../train/state/description.ts';
import { earlierReceipt, earlierState, intoKept, resultFiles } from '../../train/state/earlier.ts';
import { checkSpace } from '../../train/state/space.ts';
import { clearStates, States } from '../../train/state/states.ts';
import { sourceFacts } from '../../train/write/receipt.ts';
import { meanProbability } from '../measure/answers.ts';
import { withModel } from '../measure/with-model.ts';
import { type PruneOptions, pruneOptions } from '../options.ts';
import { PRUNE_FILE, type PruneReceipt } from '../write/receipt.ts';
import { edit } from './edit.ts';
import { type EditProgress, editProgress } from './edit-progress.ts';
import { type Measured, measure } from './measure.ts';
import { checkPruneMemory, planPruneMemory } from './memory.ts';
import { keptBytes, memoryOptionsOf, sideFacts } from './planned.ts';
import { type PreparedPrune, preparePrune } from './prepare.ts';
import { PruneTelling } from './progress.ts';
import { settle } from './settle.ts';
import { gateStage } from './train-gate.ts';

/** Tells the states of this job from those of a training. */
const KIND = 'espalier-prune';

/**
 * Makes an adapter with which a model forgets what is named and keeps the rest: a reconstruction of ALTER (arXiv 2603.01792). Into a folder, a job
 * that was interrupted goes on where its last state was kept when it is called again with the same arguments, and comes to the same bits in the
 * same runtime, for any number of lanes.
 *
 * @returns the receipt, which also lies in the folder as `espalier-prune.json`
 * @throws E_ARGUMENT for options out of range, models of other tokens, and where the folder holds another unfinished job; E_DATA_INVALID with file
 *   and line, for examples in both sets, and where the model does not know what it shall forget; E_ADAPTER for an earlier adapter that is damaged or
 *   another model's; E_OUT_OF_MEMORY and E_STORAGE_FULL before work begins, and later; E_DIVERGED; E_FILE_WRITE; what opening models throws; E_ABORTED, after the state was kept.
 *   The last state stays in the folder then; nothing has its final name before all of it is written
 */
export async function prune(source: ModelTarget, given: PruneOptions): Promise<PruneReceipt> {
  const options = checked<PruneOptions>(pruneOptions, given, 'prune');
  if (options.out === undefined) {
    throw new EspalierError('E_ARGUMENT', 'There is no out to write to.', "Give a folder, or memoryOutput('result').");
  }
  throwIfAborted(options.signal);
  const telling = new PruneTelling(options.onProgress);
  return intoKept(options.out, async (out) => {
    const job = await preparePrune(source, options, (done, total) => telling.tell('reading', done, total));
    try {
      const restart = options.restart ?? false;
      const receipt = (restart ? null : await finished(out, job)) ?? (await pruned(job, options, out, telling));
      await clearStates(out);
      return receipt;
    } finally {
      await job.close();
    }
  });
}

async function pruned(
  job: PreparedPrune,
  options: PruneOptions,
  out: OutputFolder,
  telling: PruneTelling,
): Promise<PruneReceipt> {
  const { signal, saveEvery = trainOptions.saveEvery.default } = options;
  const known = await identityOf(job);
  const saved = await earlierState<EditProgress>(out, known, {
    restart: options.restart ?? false,
    progress: editProgress,
  });
  const planned = await memoryOptionsOf(job, options);
  const { memory, parameters, resultBytes } = await planPruneMemory(job, planned);
  await checkPruneMemory(job, memory, planned);
  await checkSpace(out, { ...keptBytes(parameters), resultBytes, saveEvery, saved });
  const device = await openTrainDevice(
    {
      device: await jobDevice(options.device, trainWork(job), saved && kindOf(saved.device)),
      lanes: planned.lanes,
      ...(options.memoryLimit === undefined ? {} : { memoryLimit: options.memoryLimit }),
      ...(options.wasmLocation === undefined ? {} : { wasmLocation: new URL(options.wasmLocation) }),
    },
    saved?.device,
  );
  try {
    const measured = await measure(job, device, {
      signal,
      onProgress: (done, total) => telling.tell('measuring', done, total),
    });
    return await trained(job, measured, device, { out, saved, known, saveEvery, signal, telling });
  } finally {
    device.close();
  }
}

async function trained(
  job: PreparedPrune,
  measured: Measured,
  device: TrainDevice,
  {
    out,
    saved,
    known,
    saveEvery,
    signal,
    telling,
  }: {
    readonly out: OutputFolder;
    readonly saved: SavedState<EditProgress> | null;
    readonly known: Omit<Identity, 'model'>;
    readonly saveEvery: number;
    readonly signal: AbortSignal | undefined;
    readonly telling: PruneTelling;
  },
): Promise<PruneReceipt> {
  const { checkpoint, plan, data, earlier } = job;
  const edited = await edit(job, measured, device, {
    ...{ out, saved, identity: known, saveEvery, signal },
    onLoading: (done, total) => telling.tell('loading', done, total),
    onStep: (done, total, answers) => telling.step(done, total, answers),
    onLook: (done, total) => telling.tell('looking', done, total),
    onSaving: (done, total) => telling.tell('saving', done, total),
  });
  const gate = await withModel(job.target, { device, signal }, (model) =>
    gateStage(job, measured, model, device, plan.rule, {
      signal,
      onProgress: (done, total) => telling.tell('gating', done, total),
    }),
  );
  const names = namesOf(job, measured);
  const { matrices, scale, best } = edited;
  const settled = await settle(job, measured, device, { matrices, scale, names, gate: gate.values }, best, {
    signal,
    onProgress: (done, total) => telling.tell('checking', done, total),
  });
  const { files } = settled;
  throwIfAborted(signal);
  telling.tell('writing', 0, files.size);
  for (const [name, bytes] of files) await out.writeBytes(name, bytes);
  const facts = (side: 'forget' | 'retain') => ({ ...sideFacts(job, side), digest: data.digests[side] });
  const receipt: PruneReceipt = {
    receipt: KIND,
    version: 1,
    source: sourceFacts(checkpoint, edited.identity.model),
    beside: await besideOf(job),
    request: plan.request,
    earlier: [...new Set((earlier?.experts ?? []).map(({ request }) => request))],
    data: { forget: facts('forget'), retain: facts('retain') },
    options: plan,
    domains: names.map((name, i) => ({ name, examples: measured.domains.sizes[i]! })),
    entropies: { split: measured.split, distribution: measured.distribution },
    target: {
      source: measured.target.source,
      probability: meanProbability(measured.target.answers),
      answers: measured.target.answers.length,
    },
    looks: edited.progress.looks,
    chosen: best,
    strength: { settled: settled.strength, by: settled.by, tried: settled.tried },
    gate: { accuracy: gate.accuracy, loss: gate.loss, tokens: gate.tokens, rounds: gate.rounds },
    measured: { forget: measured.sample.checked.length, retain: measured.sample.retain.length },
    before: measured.before,
    after: settled.after,
    distance: { before: measured.distance, after: settled.distance },
    isolation: edited.isolation,
    parameters: edited.parameters,
    steps: edited.progress.step,
    seconds: edited.progress.seconds,
    peakBytes: device.stats().peakBytes,
    device: device.description,
    files: await resultFiles(out),
  };
  await writeJson(out, PRUNE_FILE, receipt);
  return receipt;
}

/** All that decides what is computed, beside the model. */
async function identityOf(job: PreparedPrune): Promise<Omit<Identity, 'model'>> {
  const { plan, digest } = job;
  return { options: { job: KIND, ...plan }, data: [digest, ...Object.values(await besideOf(job))].join(' ') };
}

/** Digests of what is beside the model; null: there is none. */
async function besideOf({ earlier, base, reference }: PreparedPrune) {
  return {
    earlier: earlier && (await digestOf(routedFiles(earlier))),
    base: base && (await base.digests.loadedIdentity()),
    reference: reference && (await reference.digests.loadedIdentity()),
  };
}

async function digestOf(files: ReadonlyMap<string, Uint8Array>): Promise<string> {
  const hasher = await createHasher('sha256');
  for (const bytes of files.values()) hasher.update(bytes);
  return hasher.hex();
}

/** Of the new experts: none is called as an earlier one. */
function namesOf({ plan }: PreparedPrune, { domains }: Measured): string[] {
  if (domains.count === 1) return [plan.request];
  return Array.from({ length: domains.count }, (_, i) =>
    `${plan.request}: ${domains.names?.[i] ?? i + 1}`.slice(0, 200),
  );
}

/** The receipt of an earlier run that wrote its result to the end, and was ended before the folder got its name. */
async function finished(out: OutputFolder, job: PreparedPrune): Promise<PruneReceipt | null> {
  const receipt = await earlierReceipt<PruneReceipt>(out, PRUNE_FILE);
  if (receipt === null || (await States.latest(out, editProgress)) !== null) return null;
  const { digests } = job.data;
  const same =
    JSON.stringify(receipt.options) === JSON.stringify(job.plan) &&
    receipt.data?.forget?.digest === digests.forget &&
    receipt.data?.retain?.digest === digests.retain &&
    receipt.strength !== undefined && // of an earlier version
    JSON.stringify(receipt.beside) === JSON.stringify(await besideOf(job));
  return same && receipt.source?.digest === (await job.digests.loadedIdentity()) ? (receipt as PruneReceipt) : null;
}
