/** All that is measured of a model in the end. */
import type { TrainDevice } from '../../src/device/train-device.ts';
import { relearn } from '../../src/evaluate/robustness/relearn.ts';
import { forgetQuality } from '../../src/evaluate/unlearning/measures.ts';
import { measureTofu, type TofuMeasures } from '../../src/evaluate/unlearning/tofu.ts';
import { measureFluency } from '../../src/evaluate/unlearning/written-fluency.ts';
import { withModel } from '../../src/prune/measure/with-model.ts';
import { type Snapshot, utilityOf } from '../unlearn-measure.ts';
import { FORM } from '../unlearn-work.ts';
import { firstOf, type Measuring, setsOf } from './data.ts';
import type { Figures, Relearning } from './results.ts';
import type { Split } from './runs.ts';
import { baseOf, modelOf, type Setting } from './setting.ts';

/** Answers that are written at once. */
const BATCH = 64;

/** @param ratios truth ratios of the reference; null: it is measured itself. @returns with its own truth ratios */
export async function figuresOf(
  setting: Setting,
  device: TrainDevice,
  { target, adapters }: Snapshot,
  { forgotten, retain, others }: Measuring,
  ratios: readonly number[] | null,
): Promise<{ readonly figures: Figures; readonly ratios: readonly number[] }> {
  const sets = [forgotten, retain, ...others];
  const found: Record<string, TofuMeasures> = {};
  const asked: Record<string, TofuMeasures> = {};
  const maxTokens = setting.quick ? 8 : 200;
  await withModel(target, { device, adapters }, async (model) => {
    for (const set of sets) found[set.name] = await measureTofu(model, set, { rouge: false });
    for (const set of sets) {
      asked[set.name] = await measureTofu(model, firstOf(set, setting.written), { batch: BATCH, maxTokens });
    }
  });
  const [forget, kept] = [forgotten, retain].map(({ name }) => ({ ...found[name]!, rougeL: asked[name]!.rougeL }));
  const answers = [forgotten, retain].flatMap(({ name }) =>
    asked[name]!.items.map(({ question, written }) => ({ question, written: written! })),
  );
  const fluency = await withModel(baseOf(setting), { device }, (base) => measureFluency(base, answers));
  const written = Object.fromEntries(sets.map(({ name }) => [name, { ...found[name]!, rougeL: asked[name]!.rougeL }]));
  const own = forget!.truthRatio!;
  const { p, log10p, D } = forgetQuality(own, ratios ?? own);
  const figures: Figures = {
    ...{ p, log10: log10p, D },
    ...{ forget: forget!.probability, truthRatio: forget!.truthRatioScore!, retain: kept!.probability },
    ...{ utility: utilityOf(written, true), plainUtility: utilityOf(found, false) },
    rouge: { forget: forget!.rougeL!, retain: kept!.rougeL! },
    ...{ perplexity: fluency.perplexity, repetition: fluency.repetition, distinct2: fluency.distinct2 },
  };
  return { figures, ratios: own };
}

/** How soon half of it is known again: the same settings for every method and for the control. */
export async function relearningOf(
  setting: Setting,
  { target, adapters }: Snapshot,
  split: Split,
): Promise<Relearning> {
  const { forget } = await setsOf(setting, split);
  const { device, lanes, quick } = setting;
  const { trained, held, most } = await relearn(target, {
    ...FORM,
    ...{ data: forget, adapters, original: modelOf(setting), share: 0.5, device, lanes },
    ...(quick ? { steps: 2, every: 1 } : { steps: 100, every: 10 }),
  });
  return { trained: trained.steps, held: held!.steps, most };
}
