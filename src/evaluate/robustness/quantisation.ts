import { QUANTISED_TYPES, type QuantisedType } from '../../checkpoint/quantised/quantised-types.ts';
import type { TrainingData } from '../../datasets/training/data.ts';
import { checked } from '../../options/check.ts';
import type { MeasuredModel } from '../unlearning/asking.ts';
import { measureAnswers } from './answers.ts';
import { type AnswersOptions, answersOptions } from './options.ts';

/** A model that is closed when it was measured: one of `open`, or of `openLocal`. */
export type OpenedModel = MeasuredModel & { close(): void | Promise<void> };

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

/** What rounding does to what a model has forgotten. */
export interface QuantisationMeasures {
  readonly forget: QuantisedAnswers;
  readonly retain: QuantisedAnswers | null;
  /** What part of the forgotten probability is back, (rounded - stored) / (original - stored); null where nothing was forgotten or asked. */
  readonly recovered: Readonly<Record<QuantisedType, number>> | null;
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
  const measure = async (name: string, open: () => Promise<OpenedModel>): Promise<void> => {
    const model = await open();
    try {
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
  return { forget: own, retain: retain === undefined ? null : answers('retain'), recovered: recoveredOf(own) };
}

function recoveredOf({ original, stored, ...rounded }: QuantisedAnswers): QuantisationMeasures['recovered'] {
  if (original === null || original <= stored) return null;
  const shares = QUANTISED_TYPES.map((type) => [type, (rounded[type] - stored) / (original - stored)] as const);
  return Object.fromEntries(shares) as Record<QuantisedType, number>;
}
