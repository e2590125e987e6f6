import type { TrainingData } from '../../datasets/training/data.ts';
import { scoringEncoder } from '../../datasets/training/scoring-encoder.ts';
import { throwIfAborted } from '../../errors.ts';
import { checked, filled } from '../../options/check.ts';
import { defined } from '../../options/defined.ts';
import { mean } from '../statistics.ts';
import type { MeasuredModel } from '../unlearning/asking.ts';
import { answerProbability } from '../unlearning/measures.ts';
import { type AnswersOptions, answersOptions } from './options.ts';
import { sequencesOf } from './sequences.ts';

/** What a model makes of the answers of data. */
export interface AnswersMeasures {
  /** Sequences: answers. */
  readonly n: number;
  /** Mean of their length-normalised probabilities, m(a) of TOFU's: e^(mean log-probability), the end token included. */
  readonly probability: number;
  /** Of each, in the order of the files. */
  readonly probabilities: readonly number[];
}

/** Sequences that are scored together. */
const TOGETHER = 32;

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
  const sequences = await sequencesOf(data, encoder, { signal, onProgress: () => {} });
  const probabilities: number[] = [];
  const tell = () => onProgress?.({ of, doing: 'scoring', done: probabilities.length, total: sequences.length });
  tell();
  while (probabilities.length < sequences.length) {
    throwIfAborted(signal);
    const some = sequences.slice(probabilities.length, probabilities.length + TOGETHER);
    const scored = await model.scoreBatch(
      some.map(({ ids }) => ids),
      defined({ signal }),
    );
    for (const [i, { learned }] of some.entries()) {
      const own = scored[i]!.flatMap(({ logprob }, t) => (t > 0 && learned[t] === 1 ? [logprob!] : []));
      // a mean of logarithms may be -0
      probabilities.push(answerProbability(Math.max(0, -mean(own))));
    }
    tell();
  }
  return { n: probabilities.length, probability: mean(probabilities), probabilities };
}
