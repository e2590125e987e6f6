import { EspalierError } from '../../errors.ts';
import { checked, type Filled, filled } from '../../options/check.ts';
import { sentenceRouge } from '../scores/rouge.ts';
import { mean } from '../statistics.ts';
import { type AskedAnswer, Asker, type MeasuredModel, type ScoredAnswer } from './asking.ts';
import { answerProbability, modelUtility, normalisedProbability, truthRatio, truthRatioScore } from './measures.ts';
import { type AskingOptions, askingOptions, type TofuOptions, tofuOptions } from './options.ts';
import type { TofuRow, TofuSet } from './tofu-data.ts';

/** What was measured of one question. */
export interface TofuItem {
  readonly question: string;
  readonly probability: number;
  /** Null in a set without wrong answers. */
  readonly truthRatio: number | null;
  /** Null of an empty answer. */
  readonly exactMemorisation: number | null;
  readonly extractionStrength: number | null;
  /** What the model wrote, and its ROUGE-L recall; null where it was not asked to. */
  readonly written: string | null;
  readonly rougeL: number | null;
}

/** What was measured of one set: means of its questions. */
export interface TofuMeasures {
  readonly n: number;
  /** Of the answer, a token: m(a|q). Of real authors and world facts among the wrong answers. */
  readonly probability: number;
  /** ROUGE-L recall, stemmed, of greedy answers. */
  readonly rougeL: number | null;
  /** R of each question, and the score of all: of `forget…` mean min(R, 1/R), else mean max(0, 1 - R). */
  readonly truthRatio: readonly number[] | null;
  readonly truthRatioScore: number | null;
  readonly exactMemorisation: number | null;
  readonly extractionStrength: number | null;
  /** Of questions and answers, and of how they were put to the model. */
  readonly sha256: string;
  readonly form: string;
  readonly items: readonly TofuItem[];
}

/** Questions whose answers are scored together. */
const TOGETHER = 32;

/** Where probability is that of the right answer among wrong ones. */
const AMONG = /^(?:real_authors|world_facts)/;
const FORGOTTEN = /^forget/;

type Options = Filled<TofuOptions, typeof tofuOptions>;

/**
 * Measures a model on a set of TOFU, as open-unlearning does: every answer behind its question, with the end token, and greedy answers.
 * @throws E_ARGUMENT, E_DATA_INVALID with the row of an answer that is too long for the model, E_TEMPLATE_INVALID, E_ABORTED, E_OUT_OF_MEMORY
 */
export async function measureTofu(
  model: MeasuredModel,
  set: TofuSet,
  options: TofuOptions = {},
): Promise<TofuMeasures> {
  const given = filled(tofuOptions, checked<TofuOptions>(tofuOptions, options, 'measureTofu()'));
  if (set.rows.length === 0) throw new EspalierError('E_ARGUMENT', `${set.name} has no rows.`, 'Give one or more.');
  const asker = new Asker(model, given);
  const scores = await scored(asker, set, given);
  const texts = given.rouge ? await written(asker, set, given) : null;
  const items = set.rows.map((row, i) => itemOf(set, row, scores[i]!, texts?.[i] ?? null));
  const ratios = set.perturbed ? items.map((item) => item.truthRatio!) : null;
  return {
    n: items.length,
    probability: mean(items.map((item) => item.probability)),
    rougeL: texts && mean(items.map((item) => item.rougeL!)),
    truthRatio: ratios,
    truthRatioScore: ratios && truthRatioScore(ratios, FORGOTTEN.test(set.name) ? 'forgotten' : 'known'),
    exactMemorisation: meanOf(items, 'exactMemorisation'),
    extractionStrength: meanOf(items, 'extractionStrength'),
    sha256: set.sha256,
    form: formOf(given),
    items,
  };
}

/** What is scored of a row: its answer, and where there are wrong ones the paraphrased one and these. */
function answersOf({ question, answer, paraphrased, perturbed, place }: TofuRow): AskedAnswer[] {
  const answers = perturbed === null ? [answer] : [answer, paraphrased, ...perturbed];
  return answers.map((text) => ({ question, answer: text, place }));
}

async function scored(
  asker: Asker,
  { name, rows }: TofuSet,
  { signal, onProgress }: Options,
): Promise<ScoredAnswer[][]> {
  const scores: ScoredAnswer[][] = [];
  const tell = () => onProgress?.({ of: name, doing: 'scoring', done: scores.length, total: rows.length });
  tell();
  while (scores.length < rows.length) {
    const asked = rows.slice(scores.length, scores.length + TOGETHER).map(answersOf);
    const found = await asker.score(asked.flat(), signal);
    let from = 0;
    for (const { length } of asked) {
      scores.push(found.slice(from, from + length));
      from += length;
    }
    tell();
  }
  return scores;
}

function written(asker: Asker, { name, rows }: TofuSet, options: Options): Promise<string[]> {
  const { maxTokens, batch, signal, onProgress } = options;
  const tell = (done: number) => onProgress?.({ of: name, doing: 'answering', done, total: rows.length });
  tell(0);
  const prompts = rows.map(({ question, place }) => ({ prompt: asker.prompt(question), place }));
  return asker.write(prompts, { maxTokens, batch, signal, onProgress: tell });
}

function itemOf(set: TofuSet, row: TofuRow, scores: readonly ScoredAnswer[], text: string | null): TofuItem {
  const [answer, paraphrased, ...others] = scores;
  const { loss, exactMemorisation, extractionStrength } = answer!;
  const wrong = others.map((one) => one.loss);
  const among = set.perturbed && AMONG.test(set.name);
  return {
    question: row.question,
    probability: among ? normalisedProbability(loss, wrong) : answerProbability(loss),
    truthRatio: set.perturbed ? truthRatio(paraphrased!.loss, wrong) : null,
    exactMemorisation,
    extractionStrength,
    written: text,
    rougeL: text === null ? null : sentenceRouge(text, [row.answer], { stemmer: true }).rougeL.recall,
  };
}

function meanOf(items: readonly TofuItem[], figure: 'exactMemorisation' | 'extractionStrength'): number | null {
  const values = items.flatMap((item) => item[figure] ?? []);
  return values.length === 0 ? null : mean(values);
}

/** How questions are put to a model, which two measurements must have in common. */
export function formOf(options: AskingOptions): string {
  const { prompt, answer, chat } = filled(askingOptions, options);
  return chat ? 'chat' : prompt + answer;
}

/** The sets that utility is of. */
export const UTILITY_SETS = ['retain_perturbed', 'real_authors_perturbed', 'world_facts_perturbed'] as const;

/** Utility from what was measured; null where one of the three sets or its written answers are missing. */
export function tofuUtility(sets: Readonly<Record<string, TofuMeasures>>): number | null {
  const figures = UTILITY_SETS.flatMap((name) => {
    const { probability = null, rougeL = null, truthRatioScore: ratio = null } = sets[name] ?? {};
    return [probability, rougeL, ratio];
  });
  return figures.every((figure) => figure !== null) ? modelUtility(figures) : null;
}
