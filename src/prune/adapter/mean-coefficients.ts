import type { TrainingSequence } from '../../datasets/training/types.ts';
import { EspalierError, throwIfAborted } from '../../errors.ts';
import type { ScoredToken } from '../../model/model.ts';
import { defined } from '../../options/defined.ts';
import { type AnswerOptions, TOGETHER } from '../measure/answers.ts';

/** What of a model with an adapter whose experts act by position says how they act: a `Model` in a worker, or a `LocalModel`. */
export interface RoutedScorer {
  readonly config: { readonly maxPositions: number };
  scoreBatch(
    texts: readonly Int32Array[],
    options: { readonly routing: true; readonly signal?: AbortSignal },
  ): Promise<readonly (readonly Pick<ScoredToken, 'routing'>[])[]>;
}

/**
 * How strong the experts of an adapter act on the mean where tokens that are learned are predicted: with these, `static` of `exportAdapter` does to what
 * is forgotten about what the adapter does.
 * @returns [experts]
 * @throws E_ADAPTER for a model without such an adapter; E_DATA_INVALID where nothing is learned; what `scoreBatch` throws
 */
export async function meanCoefficients(
  model: RoutedScorer,
  list: readonly TrainingSequence[],
  { signal, onProgress }: AnswerOptions = {},
): Promise<number[]> {
  let sums: number[] | null = null;
  let count = 0;
  for (let first = 0; first < list.length; first += TOGETHER) {
    throwIfAborted(signal);
    onProgress?.(first, list.length);
    const some = list.slice(first, first + TOGETHER);
    const texts = some.map(({ ids }) => ids.subarray(0, model.config.maxPositions));
    for (const [i, tokens] of (await model.scoreBatch(texts, { routing: true, ...defined({ signal }) })).entries()) {
      const { learned } = some[i]!;
      for (let t = 1; t <= tokens.length && t < learned.length; t++) {
        // what predicts a token acts one place before it
        const { routing } = tokens[t - 1]!;
        if (routing === undefined) {
          const hint = 'Open it with the adapter.';
          throw new EspalierError('E_ADAPTER', 'The model has no adapter whose experts act by position.', hint);
        }
        if (learned[t] !== 1) continue;
        sums = routing.coefficients.map((own, expert) => own + (sums?.[expert] ?? 0));
        count++;
      }
    }
  }
  onProgress?.(list.length, list.length);
  if (sums === null) throw new EspalierError('E_DATA_INVALID', 'No token is learned.', 'Give examples with answers.');
  return sums.map((sum) => sum / count);
}
