import type { TrainingSequence } from '../../datasets/training/types.ts';
import { throwIfAborted } from '../../errors.ts';
import type { LocalModel } from '../../model/model.ts';
import { defined } from '../../options/defined.ts';
import { type AnswerOptions, TOGETHER } from './answers.ts';

/**
 * Tsallis entropies of order q of the predictions that the tokens of sequences were to be guessed from, by a model that has the same tokens.
 * @returns by sequence [L], the first no number
 * @throws E_ABORTED, E_CONTEXT_LENGTH, E_OUT_OF_MEMORY
 */
export async function sequenceEntropies(
  model: LocalModel,
  list: readonly TrainingSequence[],
  q: number,
  { signal, onProgress }: AnswerOptions = {},
): Promise<Float32Array[]> {
  const all: Float32Array[] = [];
  for (let first = 0; first < list.length; first += TOGETHER) {
    throwIfAborted(signal);
    onProgress?.(first, list.length);
    const some = list.slice(first, first + TOGETHER).map(({ ids }) => ids.subarray(0, -1));
    for (const [i, tokens] of (await model.scoreBatch(some, { tsallisOrder: q, ...defined({ signal }) })).entries()) {
      const own = new Float32Array(some[i]!.length + 1).fill(Number.NaN);
      for (const [t, { tsallis, entropy }] of tokens.entries()) own[t + 1] = tsallis ?? entropy;
      all.push(own);
    }
  }
  onProgress?.(list.length, list.length);
  return all;
}
