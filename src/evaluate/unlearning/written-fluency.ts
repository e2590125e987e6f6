import { checked, type Filled, filled } from '../../options/check.ts';
import { Asker, type MeasuredModel } from './asking.ts';
import { type Variety, variety } from './fluency.ts';
import { type FluencyOptions, fluencyOptions } from './options.ts';

/** A text that some model wrote as an answer, as it came: with the space before it. */
export interface WrittenAnswer {
  readonly question: string;
  readonly written: string;
}

export interface Fluency extends Variety {
  /** Of the written tokens behind their questions, under the base; null where nothing was written. */
  readonly perplexity: number | null;
}

/** Answers that are scored together. */
const TOGETHER = 64;

/**
 * How a model writes, by the perplexity of its texts under the base that it comes from, and their variety.
 * @param base another model than the one that wrote them
 * @throws E_ARGUMENT, E_DATA_INVALID for an answer that is too long for the base, E_ABORTED, E_OUT_OF_MEMORY
 */
export async function measureFluency(
  base: MeasuredModel,
  answers: readonly WrittenAnswer[],
  options: FluencyOptions = {},
): Promise<Fluency> {
  const given: Filled<FluencyOptions, typeof fluencyOptions> = filled(
    fluencyOptions,
    checked<FluencyOptions>(fluencyOptions, options, 'measureFluency()'),
  );
  const { prompt, chat, signal, onProgress } = given;
  const asker = new Asker(base, { prompt, chat, answer: '{answer}' }, false);
  const rows = answers.flatMap(({ question, written }, i) =>
    written === '' ? [] : [{ question, answer: written, place: `Answer ${i + 1}` }],
  );
  let [sum, tokens] = [0, 0];
  for (let from = 0; from < rows.length; from += TOGETHER) {
    onProgress?.({ of: 'fluency', doing: 'scoring', done: from, total: rows.length });
    for (const one of await asker.score(rows.slice(from, from + TOGETHER), signal)) {
      sum -= one.logProbability;
      tokens += one.tokens;
    }
  }
  onProgress?.({ of: 'fluency', doing: 'scoring', done: rows.length, total: rows.length });
  return {
    perplexity: tokens === 0 ? null : Math.exp(sum / tokens),
    ...variety(answers.map(({ written }) => written)),
  };
}
