/** One method, ours or a rival, on one split. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gateEntries } from '../../src/checkpoint/adapter/gate-kinds.ts';
import { readRouted } from '../../src/checkpoint/adapter/routed-write.ts';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import type { TrainDevice } from '../../src/device/train-device.ts';
import { forgetQuality } from '../../src/evaluate/unlearning/measures.ts';
import { defined } from '../../src/options/defined.ts';
import { unlearningSettings } from '../../src/prune/edit/unlearn-options.ts';
import { prune } from '../../src/prune/job/job.ts';
import type { PruneRecipe } from '../../src/prune/options.ts';
import { memoryOutput } from '../../src/runtime/output/memory.ts';
import { openAlter } from '../unlearn-alter.ts';
import { deviceFor, measured, type Snapshot } from '../unlearn-measure.ts';
import { FORM, openRival, type Unlearner } from '../unlearn-work.ts';
import { isBetterLook } from './choice.ts';
import { everyOf, type Measuring, measuringOf, plain, setsOf } from './data.ts';
import { figuresOf, relearningOf } from './figures.ts';
import type { Found, Look } from './results.ts';
import { isOurs, OURS, type Ours, RIVALS, type Rival, type RivalName, type Run, type Split } from './runs.ts';
import { baseOf, modelOf, referenceOf, type Setting } from './setting.ts';

/** Looks of rivals within an epoch: what is best lies between two ends. */
const LOOKS = 2;
/** Answers above this are not forgotten: there is nothing to measure. */
const NEAR = 0.5;

/** A little of each part of a job. */
const QUICK = { epochs: 1, structureSteps: 2, gateSteps: 5, measured: 6, looks: 1 } as const satisfies PruneRecipe;

/** What was measured before: truth ratios of the reference, and what is kept, by the model as it is. */
export interface Before {
  readonly ratios: readonly number[];
  readonly retain: number;
}

interface Tried {
  readonly looks: readonly Look[];
  /** The best look, as it was. */
  readonly best: { readonly look: Look; readonly snapshot: Snapshot };
  readonly trained: number;
  readonly seconds: number;
}

/** Forget quality and what is kept, of as many questions as a look measures. */
async function lookAt(
  device: TrainDevice,
  snapshot: Snapshot,
  { forgotten, retain }: Measuring,
  ratios: readonly number[],
): Promise<Omit<Look, 'epoch'>> {
  const asked = { ...forgotten, rows: everyOf(forgotten.rows) };
  const found = await measured(device, snapshot, [asked, plain(retain)], { rouge: false });
  const own = found[asked.name]!;
  const { log10p } = forgetQuality(own.truthRatio!, everyOf(ratios));
  return { log10: log10p, forget: own.probability, retain: found[retain.name]!.probability };
}

/** A rival with a rate, looked at as it goes. */
async function tryRival(
  setting: Setting,
  device: TrainDevice,
  { method, split, seed, rate }: { method: RivalName; split: Split; seed: number; rate: number },
  { ratios, retain }: Before,
): Promise<Tried> {
  const { rank, layer }: Rival = RIVALS[method];
  const [model, measuring] = [modelOf(setting), await measuringOf(setting, split)];
  const refusals = await readFile(join(setting.data, 'idontknow.jsonl'), 'utf8');
  const idk = method === 'idk-dpo' ? refusals.split(/\r?\n/).filter((line) => line.trim() !== '') : [];
  const options = { method, rate, seed, looks: LOOKS, ...defined({ layer }), ...(setting.quick && { epochs: 1 }) };
  const { epochs } = unlearningSettings(options);
  const unlearner = await openRival(model, await setsOf(setting, split), { ...options, rank, device, idk });
  const looks: Look[] = [];
  let best: Tried['best'] | null = null;
  let [seconds, clock] = [0, performance.now()];
  try {
    await unlearner.run(async ({ epoch, answer }) => {
      seconds += (performance.now() - clock) / 1000;
      if (answer === null || answer <= NEAR || epoch >= epochs) {
        const snapshot = await unlearner.snapshot();
        const look = { epoch, ...(await lookAt(device, snapshot, measuring, ratios)) };
        looks.push(look);
        if (best === null || isBetterLook(look, best.look, retain)) best = { look, snapshot };
      }
      clock = performance.now();
      return undefined;
    });
    return { looks, best: best!, trained: unlearner.trained, seconds };
  } finally {
    await unlearner.dispose();
  }
}

export async function sweep(
  setting: Setting,
  { method, rate }: Extract<Run, { kind: 'sweep' }>,
  split: Split,
  before: Before,
): Promise<Found['sweep']> {
  const device = await deviceFor(modelOf(setting), setting);
  try {
    const { looks, seconds } = await tryRival(setting, device, { method, split, seed: 0, rate }, before);
    return { looks, before: before.retain, seconds };
  } finally {
    device.close();
  }
}

const recipeOf = (setting: Setting, method: Ours, split: Split, seed: number): PruneRecipe => ({
  ...FORM,
  ...{ base: baseOf(setting), reference: referenceOf(setting, split), seed },
  ...OURS[method],
  ...(setting.quick && QUICK),
});

/** The job as anyone runs it. */
async function runOurs(
  setting: Setting,
  { method, split, seed }: { readonly method: Ours; readonly split: Split; readonly seed: number },
): Promise<Pick<Found['unlearn'], 'left' | 'trained' | 'seconds'> & { readonly snapshot: Snapshot }> {
  const [model, out] = [modelOf(setting), memoryOutput('forgets')];
  const { device, lanes } = setting;
  const began = performance.now();
  const { chosen, strength, parameters } = await prune(model, {
    ...recipeOf(setting, method, split, seed),
    ...(await setsOf(setting, split)),
    ...{ out, device, lanes, saveEvery: 0 },
  });
  const seconds = (performance.now() - began) / 1000;
  const from = out.result();
  const checkpoint = await openCheckpoint(model);
  try {
    const { gate } = await readRouted(from, checkpoint);
    const inGate = gateEntries(gate).reduce((sum, [, values]) => sum + values.length, 0);
    const left = { epoch: chosen.epoch, strength: strength.settled };
    return { left, trained: parameters + inGate, seconds, snapshot: { target: model, adapters: [{ from }] } };
  } finally {
    await checkpoint.close();
  }
}

/** @param rate of a rival */
export async function unlearn(
  setting: Setting,
  { method, split, seed }: Extract<Run, { kind: 'unlearn' }>,
  before: Before,
  rate: number | null,
): Promise<Found['unlearn']> {
  const device = await deviceFor(modelOf(setting), setting);
  try {
    const made = isOurs(method)
      ? { ...(await runOurs(setting, { method, split, seed })), looks: [], rate: null }
      : await rivalAt(setting, device, { method, split, seed, rate: rate! }, before);
    const { snapshot, ...about } = made;
    const measuring = await measuringOf(setting, split);
    const { figures, ratios } = await figuresOf(setting, device, snapshot, measuring, before.ratios);
    const relearning = await relearningOf(setting, snapshot, split);
    return { ...about, figures, ratios: ratios.map((ratio) => Number(ratio.toPrecision(5))), relearning };
  } finally {
    device.close();
  }
}

async function rivalAt(
  setting: Setting,
  device: TrainDevice,
  run: { readonly method: RivalName; readonly split: Split; readonly seed: number; readonly rate: number },
  before: Before,
) {
  const { looks, best, trained, seconds } = await tryRival(setting, device, run, before);
  const left = { epoch: best.look.epoch, strength: null };
  return { left, looks, rate: run.rate, trained, seconds, snapshot: best.snapshot };
}

/** All that ours could have been left in, by all questions and through its gate. */
export async function looks(
  setting: Setting,
  { method, split, seed }: Extract<Run, { kind: 'looks' }>,
  { ratios }: Before,
): Promise<Found['looks']> {
  const [model, measuring] = [modelOf(setting), await measuringOf(setting, split)];
  const candidates: Found['looks']['candidates'][number][] = [];
  const device = await deviceFor(model, setting);
  let unlearner: Unlearner | null = null;
  try {
    const recipe = recipeOf(setting, method, split, seed);
    unlearner = await openAlter(model, await setsOf(setting, split), { ...recipe, device });
    const own = unlearner;
    const chosen = await own.run(async ({ epoch, candidates: list }) => {
      for (const { look, strength, distance } of list!) {
        const found = await lookAt(device, await own.snapshot(strength), measuring, ratios);
        candidates.push({ epoch, look, strength, distance, ...found });
      }
      return undefined;
    });
    return { candidates, chosen: { look: chosen!.look, strength: chosen!.strength } };
  } finally {
    await unlearner?.dispose();
    device.close();
  }
}
