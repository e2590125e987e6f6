import type { TrainingData } from '../../datasets/training/data.ts';
import { encodeAll } from '../../datasets/training/encode-all.ts';
import { scoringEncoder } from '../../datasets/training/scoring-encoder.ts';
import { checked, filled } from '../../options/check.ts';
import { defined } from '../../options/defined.ts';
import { answerLogProbabilities } from '../../prune/measure/answers.ts';
import { mean } from '../statistics.ts';
import type { MeasuredModel } from '../unlearning/asking.ts';
import { answerProbability } from '../unlearning/measures.ts';
import { type AnswersOptions, answersOptions } from './options.ts';

/** What a model makes of the answers of data. */
export interface AnswersMeasures {
  /** Sequences: answers. */
  readonly n: number;
  /** Mean of their length-normalised probabilities, m(a) of TOFU's: e^(mean log-probability), the end token included. */
  readonly probability: number;
  /** Of each, in the order of the files. */
  readonly probabilities: readonly number[];
}

/**
 * How probable the answers of training data are to a model.
 * @param of what they are called in progress
 * @throws E_DATA_INVALID with file and line, E_TEMPLATE_INVALID, E_ARGUMENT, E_ABORTED, E_OUT_OF_MEMORY
 */
export async function measureAnswers(
  model: MeasuredModel,
  data: TrainingData,
  options: AnswersOptions = {},
  of = 'answers',
): Promise<AnswersMeasures> {
  const given = checked<AnswersOptions>(answersOptions, options, 'measureAnswers()');
  const { signal, onProgress, ...sequence } = filled(answersOptions, given);
  const encoder = scoringEncoder(model, { ...sequence, ...defined({ end: given.end }) });
  const { sequences } = await encodeAll(data, encoder, { signal });
  const means = await answerLogProbabilities(model, sequences, {
    signal,
    onProgress: (done, total) => onProgress?.({ of, doing: 'scoring', done, total }),
  });
  // a mean of logarithms may be -0
  const probabilities = Array.from(means, (one) => answerProbability(Math.max(0, -one)));
  return { n: probabilities.length, probability: mean(probabilities), probabilities };
}
