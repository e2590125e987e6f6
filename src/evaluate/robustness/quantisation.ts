import { QUANTISED_TYPES, type QuantisedType } from '../../checkpoint/quantised/quantised-types.ts';
import type { RoundedLayers } from '../../checkpoint/types.ts';
import type { TrainingData } from '../../datasets/training/data.ts';
import { checked } from '../../options/check.ts';
import type { MeasuredModel } from '../unlearning/asking.ts';
import { measureAnswers } from './answers.ts';
import { type AnswersOptions, answersOptions } from './options.ts';

/** A model that is closed when it was measured: one of `open`, or of `openLocal`. */
export type OpenedModel = MeasuredModel & {
  /** Where it was opened with `quantise`. */
  readonly rounded: RoundedLayers | null;
  close(): void | Promise<void>;
};

export interface QuantisationModels {
  /** Opens the model that forgot, with its adapters and with this as option `quantise`; null: as it is stored. */
  open(quantise: QuantisedType | null): Promise<OpenedModel>;
  /** Opens the model that knew. Left out: it is not compared with. */
  readonly original?: () => Promise<OpenedModel>;
}

export interface QuantisationData {
  /** What was to be forgotten. */
  readonly forget: TrainingData;
  /** What was to be kept. */
  readonly retain?: TrainingData | undefined;
}

/** Mean length-normalised probabilities of answers. */
export interface QuantisedAnswers extends Readonly<Record<QuantisedType, number>> {
  readonly n: number;
  readonly original: number | null;
  readonly stored: number;
}

/** What was forgotten, of the original's probability, that a part of it can be told. */
const FORGOTTEN = 0.01;

/** What rounding does to what a model has forgotten. */
export interface QuantisationMeasures {
  readonly forget: QuantisedAnswers;
  readonly retain: QuantisedAnswers | null;
  /** Linear layers that were rounded, and all of them: those that are of the type already, or have rows of no whole blocks, are not. */
  readonly rounded: Readonly<Record<QuantisedType, RoundedLayers>>;
  /**
   * What part of the forgotten probability is back, (rounded - stored) / (original - stored). Null without an original, and where less than a
   * hundredth of its probability was forgotten; of a type null where nothing was rounded to it.
   */
  readonly recovered: Readonly<Record<QuantisedType, number | null>> | null;
}

/**
 * Whether what a model has forgotten comes back when its linear layers are rounded to 8 and 4 bits (Zhang et al. 2024, arXiv 2410.16454), and
 * whether it keeps what it should. Models are open one after another.
 * @throws as `measureAnswers`, and what opening throws
 */
export async function measureQuantisation(
  models: QuantisationModels,
  { forget, retain }: QuantisationData,
  options: AnswersOptions = {},
): Promise<QuantisationMeasures> {
  const given = checked<AnswersOptions>(answersOptions, options, 'measureQuantisation()');
  const found = { forget: new Map<string, number>(), retain: new Map<string, number>() };
  const counts = { forget: 0, retain: 0 };
  const rounded = new Map<string, RoundedLayers>();
  const measure = async (name: string, open: () => Promise<OpenedModel>): Promise<void> => {
    const model = await open();
    try {
      if (model.rounded) rounded.set(name, model.rounded);
      for (const [set, data] of Object.entries({ forget, retain }) as [
        'forget' | 'retain',
        TrainingData | undefined,
      ][]) {
        if (data === undefined) continue;
        const { n, probability } = await measureAnswers(model, data, given, `${set}, ${name}`);
        found[set].set(name, probability);
        counts[set] = n;
      }
    } finally {
      await model.close();
    }
  };
  if (models.original) await measure('original', models.original);
  await measure('stored', () => models.open(null));
  for (const type of QUANTISED_TYPES) await measure(type, () => models.open(type));
  const answers = (set: 'forget' | 'retain'): QuantisedAnswers => {
    const { original = null, ...own } = Object.fromEntries(found[set]);
    return { n: counts[set], original, ...own } as QuantisedAnswers;
  };
  const own = answers('forget');
  const none: RoundedLayers = { rounded: 0, linear: 0 };
  const layers = byType((type) => rounded.get(type) ?? none);
  return {
    forget: own,
    retain: retain === undefined ? null : answers('retain'),
    rounded: layers,
    recovered: recoveredOf(own, layers),
  };
}

function recoveredOf(
  { original, stored, ...answers }: QuantisedAnswers,
  layers: QuantisationMeasures['rounded'],
): QuantisationMeasures['recovered'] {
  // of nothing, a part is noise, or 0 / 0
  if (original === null || !(original - stored > FORGOTTEN * original)) return null;
  return byType((type) => (layers[type].rounded === 0 ? null : (answers[type] - stored) / (original - stored)));
}

function byType<T>(of: (type: QuantisedType) => T): Record<QuantisedType, T> {
  return Object.fromEntries(QUANTISED_TYPES.map((type) => [type, of(type)])) as Record<QuantisedType, T>;
}
