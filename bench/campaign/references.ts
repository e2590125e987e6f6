/** Models that never learned what is forgotten: trained by our trainer, and measured. */
import { mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { openTrainingData } from '../../src/datasets/training/data.ts';
import { SequenceEncoder } from '../../src/datasets/training/encode.ts';
import { encodeAll } from '../../src/datasets/training/encode-all.ts';
import type { TrainDevice } from '../../src/device/train-device.ts';
import { forgetQuality } from '../../src/evaluate/unlearning/measures.ts';
import { measureTofu } from '../../src/evaluate/unlearning/tofu.ts';
import { answerLogProbabilities, meanProbability } from '../../src/prune/measure/answers.ts';
import { withModel } from '../../src/prune/measure/with-model.ts';
import { train } from '../../src/train.ts';
import { deviceFor } from '../unlearn-measure.ts';
import { FORM } from '../unlearn-work.ts';
import { bytesOf, everyOf, linesOf, measuringOf } from './data.ts';
import { figuresOf, relearningOf } from './figures.ts';
import type { Found, Likeness } from './results.ts';
import { GIVEN, type Split } from './runs.ts';
import { baseOf, modelOf, referenceOf, retainOf, type Setting } from './setting.ts';

/** As probable as the answers of what it knows are to nano-tofu-retain90 (.983), less what is not worth training anew. */
const KNOWN = 0.975;
const MOST_ROUNDS = 6;

/** How a model learns by heart: rounds, each with a rate that rises and falls to 0, until a token of its answers is as probable as that. */
export interface Learning {
  readonly data: readonly string[];
  readonly epochs: number;
  readonly learningRate: number;
  readonly known: number;
  /**
   * Of each further round, which begins anew with so many epochs more; undefined: it goes on from the last round. A reference is compared with a model
   * whose answers have .983: after two rounds ours had .997, and other truth ratios (a score of .54, where that one has .63).
   */
  readonly more?: number;
  /** Steps, where only some are taken. */
  readonly few: number;
}

/** @returns in `folder`, when all of it is there; a round that was ended is begun again */
export async function learnByHeart(
  setting: Setting,
  from: string,
  folder: string,
  { data: lines, epochs, learningRate, known, more, few }: Learning,
): Promise<Found['reference']> {
  const { device, lanes, quick } = setting;
  const data = bytesOf(lines);
  await mkdir(setting.work, { recursive: true });
  let [last, rounds, steps, probability] = [from, 0, 0, 0];
  while (rounds < (quick ? 1 : MOST_ROUNDS) && probability < known) {
    const out = `${folder}.round-${rounds + 1}`;
    for (const left of [out, `${out}.partial`]) await rm(left, { recursive: true, force: true });
    const isAnew = more !== undefined;
    const receipt = await train(isAnew ? from : last, {
      ...FORM,
      ...{ data, full: true, batch: 16, learningRate, seed: rounds, out, device, lanes, saveEvery: 0, dtype: 'f32' },
      ...(quick ? { steps: few } : { epochs: epochs + (more ?? 0) * rounds }),
    });
    rounds++;
    steps = receipt.steps + (isAnew ? 0 : steps);
    if (last !== from) await rm(last, { recursive: true });
    last = out;
    const opened = await deviceFor(last, setting);
    try {
      probability = await knownOf(opened, last, everyOf(lines));
    } finally {
      opened.close();
    }
  }
  await rm(folder, { recursive: true, force: true });
  await rename(last, folder);
  return { rounds, steps, probability };
}

/** The mean probability of answers, a token. */
export async function knownOf(device: TrainDevice, target: string, lines: readonly string[]): Promise<number> {
  const data = await openTrainingData(bytesOf(lines), FORM);
  try {
    return await withModel(target, { device }, async (model) => {
      const { sequences } = await encodeAll(data, new SequenceEncoder(model), {});
      return meanProbability(await answerLogProbabilities(model, sequences));
    });
  } finally {
    await data.close();
  }
}

export async function trainReference(setting: Setting, split: Split): Promise<Found['reference']> {
  const data = await linesOf(setting, retainOf(split));
  const learning = { data, epochs: 10, learningRate: 1e-3, known: KNOWN, more: 2, few: 2 };
  if (split !== GIVEN) return learnByHeart(setting, baseOf(setting), referenceOf(setting, split), learning);
  const folder = join(setting.work, `own-${retainOf(split)}`);
  const found = await learnByHeart(setting, baseOf(setting), folder, learning);
  return { ...found, beside: await likenessOf(setting, folder, referenceOf(setting, split)) };
}

/** Two models that never learned the same: whether their truth ratios are distributed alike. What they are not alike in, no method can be blamed for. */
async function likenessOf(setting: Setting, own: string, given: string): Promise<Likeness> {
  const { forgotten } = await measuringOf(setting, GIVEN);
  const ratios: (readonly number[])[] = [];
  let truthRatio = 0;
  for (const target of [given, own]) {
    const device = await deviceFor(target, setting);
    try {
      await withModel(target, { device }, async (model) => {
        const measures = await measureTofu(model, forgotten, { rouge: false });
        ratios.push(measures.truthRatio!);
        truthRatio = measures.truthRatioScore!;
      });
    } finally {
      device.close();
    }
  }
  const { p, D } = forgetQuality(ratios[1]!, ratios[0]!);
  return { p, D, truthRatio };
}

export async function measureBefore(setting: Setting, split: Split): Promise<Found['before']> {
  const [measuring, target] = [await measuringOf(setting, split), referenceOf(setting, split)];
  const snapshot = { target, adapters: [] };
  const device = await deviceFor(target, setting);
  try {
    const { figures: reference, ratios } = await figuresOf(setting, device, snapshot, measuring, null);
    const own = { target: modelOf(setting), adapters: [] };
    const { figures: model } = await figuresOf(setting, device, own, measuring, ratios);
    return { model, reference, ratios, control: await relearningOf(setting, snapshot, split) };
  } finally {
    device.close();
  }
}
