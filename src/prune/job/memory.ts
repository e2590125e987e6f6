import type { RoutedMatrix } from '../../checkpoint/adapter/routed-write.ts';
import type { TrainingSequence } from '../../datasets/training/types.ts';
import { measuringDevice } from '../../device/measuring-device.ts';
import type { TrainDevice } from '../../device/train-device.ts';
import { EspalierError } from '../../errors.ts';
import { CHUNK } from '../../model/decoder.ts';
import { defined } from '../../options/defined.ts';
import { DecoderReference } from '../../train/decoder-reference.ts';
import { DecoderTrainable } from '../../train/decoder-trainable.ts';
import { AdamW } from '../../train/optimiser.ts';
import { packStep } from '../../train/packing.ts';
import { bytesInside } from '../../train/plan/memory.ts';
import { AsymmetricFactors, TRAINED } from '../adapter/factors.ts';
import { forgetStep, type PruneSequence, type PruneStep, retainStep, structureStep } from '../edit/batches.ts';
import { batchCount, structureCount, structureDraws } from '../edit/draws.ts';
import { gradientPenalty } from '../edit/gradient-penalty.ts';
import type { GateValues } from '../gate/join-gates.ts';
import { actingBatches, answerLogProbabilities, batchLogProbabilities, TOGETHER } from '../measure/answers.ts';
import { sequenceEntropies } from '../measure/sequence-entropies.ts';
import { withModel } from '../measure/with-model.ts';
import { referenceOf } from './edit.ts';
import { jobFiles } from './files.ts';
import { sampleOf } from './measure.ts';
import type { PreparedPrune } from './prepare.ts';
import { gateStage } from './train-gate.ts';

/** Most bytes that each part of a job will hold on its device, one part after the other. */
export interface PruneMemory {
  /** Models as they are, asked for answers and entropies. */
  readonly measuring: number;
  /** Both phases and their looks. */
  readonly training: number;
  readonly gating: number;
  /** The model with the adapter as it was written. */
  readonly checking: number;
  /** The most of these. */
  readonly total: number;
  /** Null: nobody is told how much a GPU has. */
  readonly limit: number | null;
}

/** What is planned, and what the files will be. */
export interface PlannedMemory {
  readonly memory: PruneMemory;
  /** Of the adapter, its gate left out. */
  readonly parameters: number;
  /** Of both files of the adapter. */
  readonly resultBytes: number;
}

export interface PruneMemoryOptions {
  /** Sub-domains, or the most that there can be. */
  readonly domains: number;
  readonly lanes: number;
  readonly limit: number | null;
  readonly signal?: AbortSignal | undefined;
}

/** The least that scratch takes at once, and what `bytesInside` has for its growing. */
const CHUNK_BYTES = 2 ** 20;
const GROWN_BY = 2 ** 18;
/** All that WebAssembly addresses. */
const MOST_MEMORY = 4 * 2 ** 30;
/** Rows of a pass through the gate. */
const GATE_ROWS = 512;
/** Steps of the gate, tokens and rounds that are gone through: more of them take no more. */
const GATE = { gateSteps: 1, gateTokens: 1, gateRounds: 1 } as const;

/**
 * Goes through every part of a job, by the very functions that do it, on devices that only count: of examples with the heaviest ones, of steps with one
 * of each kind.
 * @throws what opening models throws; E_ABORTED
 */
export async function planPruneMemory(job: PreparedPrune, options: PruneMemoryOptions): Promise<PlannedMemory> {
  const { lanes, limit, signal } = options;
  const longest = longestOf(job);
  const rows = rowsOf(job);
  const { config } = job.checkpoint;
  const inside = (of: number) => bytesInside({ config, rows: of, maxTokens: longest.ids.length - 1, lanes });
  const gateSizes = { ...config, intermediateSize: job.plan.gateUnits, nHeads: 1, nKvHeads: 1, headDim: 1 };
  const insideGate = bytesInside({ config: gateSizes, rows: GATE_ROWS, maxTokens: 1, lanes });
  // scratch is taken in chunks, and where one cannot be made longer there is a gap at its end
  const beside = (own: number) => (scratch + own - GROWN_BY <= CHUNK_BYTES ? CHUNK_BYTES - scratch : own + CHUNK_BYTES);
  let scratch = 0;
  const counted = async <T>(own: number, run: (device: TrainDevice) => Promise<T>): Promise<[number, T]> => {
    const { device, measured } = measuringDevice(scratch);
    const result = await run(device);
    scratch = measured().scratchBytes;
    return [measured().peakBytes + beside(own), result];
  };
  // an answer is looked at in pieces
  const asked = Math.min(CHUNK, Math.max(...groupsOf(job).map(tokensOf)));
  const [measuring] = await counted(inside(asked), (device) => measureThere(job, device, signal));
  const [training, adapter] = await counted(inside(rows), (device) => trainThere(job, device, options));
  const [gating, gate] = await counted(Math.max(inside(asked), insideGate), (device) =>
    gateThere(job, longest, device, options),
  );
  const names = Array.from({ length: options.domains }, (_, i) => `${job.plan.request}: ${i + 1}`);
  // zeros, in files of the size that they will have
  const files = jobFiles(job, { ...adapter, strength: job.plan.rule.strength, names, gate });
  const [checking] = await counted(inside(asked), (device) =>
    checkThere(job, Object.fromEntries(files), device, signal),
  );
  const total = Math.max(measuring, training, gating, checking);
  return {
    memory: { measuring, training, gating, checking, total, limit },
    parameters: adapter.parameters,
    resultBytes: [...files.values()].reduce((sum, { length }) => sum + length, 0),
  };
}

/** Options with which a job that takes too much fits into its limit, or the limit that is enough; null: it fits. */
export async function pruneAdvice(
  job: PreparedPrune,
  { total, limit }: PruneMemory,
  options: PruneMemoryOptions,
): Promise<string | null> {
  if (limit === null || total <= limit) return null;
  const hints = [];
  const enough = Math.ceil(total / 2 ** 20) * 2 ** 20;
  if (enough <= MOST_MEMORY) hints.push(`\`memoryLimit: ${enough}\` (${said(enough, enough)})`);
  const rows = await rowsFor(job, options);
  if (rows !== null) {
    // a pass has to hold the longest that there may be
    const tokens = rows < job.plan.maxTokens ? ` with \`maxTokens: ${longestOf(job).ids.length - 1}\`` : '';
    hints.push(`\`rows: ${rows}\`${tokens}`);
  }
  if (hints.length === 0) hints.push('a lower `rank`, a smaller or more strongly quantised model');
  return `Use ${hints.join(', or ')}.`;
}

/** @throws E_OUT_OF_MEMORY for a plan beyond its limit; the hint says what is enough */
export async function checkPruneMemory(
  job: PreparedPrune,
  memory: PruneMemory,
  options: PruneMemoryOptions,
): Promise<void> {
  const advice = await pruneAdvice(job, memory, options);
  const { total, limit, training } = memory;
  if (advice === null || limit === null) return;
  throw new EspalierError(
    'E_OUT_OF_MEMORY',
    `Pruning would take ${said(total, limit)} of memory on the device${total === training ? ' in its training' : ''}, and there are ${said(limit, limit)}.`,
    advice,
  );
}

/** The most rows, by halves, with which it fits; null: none. */
async function rowsFor(job: PreparedPrune, options: PruneMemoryOptions): Promise<number | null> {
  const least = longestOf(job).ids.length - 1;
  for (let rows = Math.floor(rowsOf(job) / 2); ; rows = Math.floor(rows / 2)) {
    const own = Math.max(least, rows);
    const { memory } = await planPruneMemory({ ...job, plan: { ...job.plan, rows: own } }, options);
    if (memory.limit === null || memory.total <= memory.limit) return own;
    if (own === least) return null;
  }
}

function said(bytes: number, limit: number): string {
  return limit < 2 ** 30 ? `${(bytes / 2 ** 20).toFixed(2)} MiB` : `${(bytes / 2 ** 30).toFixed(2)} GiB`;
}

/** The models that are looked at beside the one that forgets, where they are not as large. */
async function measureThere(job: PreparedPrune, device: TrainDevice, signal: AbortSignal | undefined): Promise<void> {
  const { plan, checkpoint, base, reference } = job;
  const shape = ({ config, byteLength }: typeof checkpoint) => JSON.stringify([config, byteLength]);
  const seen = new Set<string>();
  const targets = [{ target: job.target, checkpoint }, reference, base].flatMap((one) => one ?? []);
  for (const { target, checkpoint: own } of targets) {
    if (seen.has(shape(own))) continue;
    seen.add(shape(own));
    await withModel(target, { device, signal }, async (model) => {
      for (const group of groupsOf(job)) {
        await answerLogProbabilities(model, group, { signal });
        await sequenceEntropies(model, group, plan.q, { signal });
      }
      if (plan.domains !== 1 && typeof plan.domains !== 'object') {
        await model.embed([longestOf(job).ids.subarray(0, model.config.maxPositions)], defined({ signal }));
      }
    });
  }
}

interface CountedAdapter {
  readonly matrices: readonly RoutedMatrix[];
  readonly scale: number;
  readonly experts: number;
  readonly parameters: number;
}

/** One step of each kind, as `TwoPhases` takes them, and a look. */
async function trainThere(
  job: PreparedPrune,
  device: TrainDevice,
  { domains, signal }: PruneMemoryOptions,
): Promise<CountedAdapter> {
  const { plan, checkpoint, earlier } = job;
  const { rank, alpha, targets, seed, regulariser, structureOrder: order, invariance, mask, forgetting: factor } = plan;
  const experts = (earlier?.experts.length ?? 0) + domains;
  const factors = new AsymmetricFactors(device, checkpoint.config, {
    ...{ rank, alpha, rslora: false, targets, seed, experts },
  });
  const reference = await referenceOf(job, device, signal);
  const trainable = await DecoderTrainable.load(device, checkpoint, {
    signal,
    ...(reference && { reference: new DecoderReference(reference) }),
    trainable: () => false,
    adapter: factors,
  });
  const isShared = ({ name }: { readonly name: string }) => factors.roles.get(name) === 'shared';
  const adam = { beta1: 0, beta2: 0, epsilon: 1, weightDecay: 0, clip: null };
  const optimiser = new AdamW(trainable, adam);
  const take = async (roles: Parameters<typeof factors.trained>[0], step: PruneStep): Promise<void> => {
    trainable.train(factors.trained(roles));
    if (step.penalty) await gradientPenalty(trainable, step.penalty, isShared, { signal });
    for (const batch of step.batches) await trainable.step(batch, { signal, onRows: () => {} });
    optimiser.step(0, await optimiser.norm());
  };
  const some = heaviestStep(job);
  if (structureCount(plan, 1) > 0) {
    const made = structureStep(some, plan.rows, { regulariser, order, factor: invariance });
    if (made) await take(plan.schedule === 'phases' ? TRAINED.phaseOne : TRAINED.shared, made);
  }
  for (let expert = experts - domains; expert < experts; expert++) {
    await take(
      TRAINED.forget(expert),
      forgetStep(some, plan.rows, { expert, experts, objective: plan.objective, mask, factor }),
    );
  }
  if (plan.retains) await take(TRAINED.retain, retainStep(some, plan.rows, 1));
  trainable.train(() => false);
  const sample = sampleOf(job);
  const none = new Float32Array(experts);
  await batchLogProbabilities(
    trainable,
    actingBatches(sample.forget, plan.rows, () => none),
    { signal },
  );
  await batchLogProbabilities(trainable, packStep(sample.retain, plan.rows), { signal });
  return {
    matrices: await factors.matrices(device),
    ...{ scale: factors.scale, experts },
    parameters: factors.factors.reduce((sum, { shape }) => sum + shape.reduce((x, y) => x * y, 1), 0),
  };
}

async function gateThere(
  { plan, earlier, target }: PreparedPrune,
  longest: PruneSequence,
  device: TrainDevice,
  { domains: count, signal }: PruneMemoryOptions,
): Promise<GateValues> {
  const list = Array.from({ length: count }, () => [longest]);
  // the first is learned from, and the second gone through afterwards
  const sides = { forget: list, retain: [longest, longest], domains: { count } };
  return withModel(target, { device, signal }, async (model) => {
    const own = { plan: { ...plan, ...GATE, gateTokens: longest.ids.length }, earlier };
    return (await gateStage(own, sides, model, device, plan.rule, { signal, onProgress: () => {} })).values;
  });
}

async function checkThere(
  job: PreparedPrune,
  files: Record<string, Uint8Array>,
  device: TrainDevice,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { checked, retain } = sampleOf(job);
  const asked = [checked, retain].flatMap(heaviest);
  await withModel(job.target, { device, adapters: [{ from: files }], signal }, async (model) => {
    for (const group of asked) await answerLogProbabilities(model, group, { signal });
  });
}

/** Rows of the largest pass of a step. */
function rowsOf({ plan, forget, retain }: PreparedPrune): number {
  const lengths = [...forget.sequences, ...retain.sequences].map(({ ids }) => ids.length - 1).sort((a, b) => b - a);
  const step = lengths.slice(0, plan.batch).reduce((sum, length) => sum + length, 0);
  const { forget: asked, retain: kept } = sampleOf({ plan, forget, retain });
  return Math.min(plan.rows, Math.max(step, tokensOf(asked), tokensOf(kept)));
}

/** A step whose only pass has as many rows as any can have, with the longest sequence in it, every token of which is in every loss. */
function heaviestStep({ plan, forget, retain }: PreparedPrune): PruneSequence[] {
  const lengths = [...forget.sequences, ...retain.sequences].map(({ ids }) => ids.length - 1).sort((a, b) => b - a);
  let room = plan.rows;
  const list: PruneSequence[] = [];
  for (const length of lengths.slice(0, plan.batch)) {
    const own = Math.min(length, room);
    if (own === 0) break;
    room -= own;
    list.push(learnedAll(own + 1));
  }
  return list;
}

function longestOf({ forget, retain }: PreparedPrune): PruneSequence {
  return learnedAll(
    [...forget.sequences, ...retain.sequences].reduce((most, { ids }) => Math.max(most, ids.length), 0),
  );
}

/** A sequence with each other token of high entropy, so that all losses have some. */
function learnedAll(length: number): PruneSequence {
  const ones = () => new Uint8Array(length).fill(1);
  return {
    ids: new Int32Array(length),
    learned: ones(),
    high: ones().map((_, i) => i % 2),
    entropies: new Float32Array(length),
  };
}

/** Of all that is asked of a model, sequences that are asked together and may take the most. */
function groupsOf(job: PreparedPrune): (readonly TrainingSequence[])[] {
  const { plan, forget, retain, unseen } = job;
  const sample = sampleOf(job);
  const all = [...forget.sequences, ...retain.sequences];
  const structureSteps = structureCount(plan, batchCount([forget.sequences.length], plan.batch));
  const drawn = [...new Set(structureDraws({ ...plan, structureSteps }, all.length).flatMap((list) => [...list]))].sort(
    (a, b) => a - b,
  );
  const lists = [
    ...[
      sample.forget,
      sample.checked,
      sample.retain,
      forget.sequences,
      unseen?.sequences.slice(0, plan.measured) ?? [],
    ],
    drawn.map((i) => all[i]!),
  ];
  return lists.flatMap(heaviest);
}

/** Of sequences that are asked one group after the other: the group with the most tokens, and that with the longest. */
function heaviest(list: readonly TrainingSequence[]): (readonly TrainingSequence[])[] {
  const groups = Array.from({ length: Math.ceil(list.length / TOGETHER) }, (_, i) =>
    list.slice(i * TOGETHER, (i + 1) * TOGETHER),
  );
  const most = (of: (group: readonly TrainingSequence[]) => number) =>
    groups.reduce((best, group) => (of(group) > of(best) ? group : best), groups[0]!);
  return groups.length === 0
    ? []
    : [...new Set([most(tokensOf), most((group) => Math.max(...group.map(({ ids }) => ids.length)))])];
}

/** That go through a model: the last of each is a target only. */
export function tokensOf(list: readonly TrainingSequence[]): number {
  return list.reduce((sum, { ids }) => sum + ids.length - 1, 0);
}
