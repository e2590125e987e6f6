import type { TrainingSequence } from '../../datasets/training/types.ts';
import { throwIfAborted } from '../../errors.ts';
import type { LocalModel } from '../../model/model.ts';
import { defined } from '../../options/defined.ts';
import { packStep } from '../../train/packing.ts';
import type { Trainable } from '../../train/trainable.ts';

/** Examples that go through a model together. */
const TOGETHER = 32;

export interface AnswerOptions {
  readonly signal?: AbortSignal | undefined;
  /** Sequences done and in all. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/**
 * How likely a model finds answers: of each sequence the mean log-probability of the tokens that are learned, in nats; e to its power is
 * TOFU's length-normalised probability (Maini et al. 2024, arXiv 2401.06121).
 * @returns [sequences]
 * @throws E_ABORTED, E_CONTEXT_LENGTH, E_OUT_OF_MEMORY
 */
export async function answerLogProbabilities(
  model: LocalModel,
  list: readonly TrainingSequence[],
  { signal, onProgress }: AnswerOptions = {},
): Promise<Float64Array> {
  const means = new Float64Array(list.length);
  for (let first = 0; first < list.length; first += TOGETHER) {
    throwIfAborted(signal);
    onProgress?.(first, list.length);
    const some = list.slice(first, first + TOGETHER);
    const scored = await model.scoreBatch(
      // a sequence may have one more than the model has positions
      some.map(({ ids }) => ids.subarray(0, model.config.maxPositions)),
      defined({ signal }),
    );
    for (const [i, tokens] of scored.entries()) {
      const { learned } = some[i]!;
      let [sum, count] = [0, 0];
      for (const [t, { logprob }] of tokens.entries()) {
        if (t === 0 || learned[t] !== 1 || logprob === null) continue;
        sum += logprob;
        count++;
      }
      means[first + i] = sum / count;
    }
  }
  onProgress?.(list.length, list.length);
  return means;
}

/**
 * The same of what is being trained.
 * @param rows most tokens of a pass
 * @param coefficients by sequence, of all experts, where its answer is predicted: [experts]; null: no expert acts
 * @returns [sequences]
 * @throws E_ABORTED, E_OUT_OF_MEMORY
 */
export async function trainedLogProbabilities(
  trainable: Trainable,
  list: readonly TrainingSequence[],
  rows: number,
  coefficients: ((sequence: number) => Float32Array) | null,
  signal?: AbortSignal,
): Promise<Float64Array> {
  const { batches, members } = packStep(list, rows);
  const means = new Float64Array(list.length);
  for (const [i, batch] of batches.entries()) {
    throwIfAborted(signal);
    const own = members[i]!;
    let routing: Float32Array | undefined;
    if (coefficients) {
      const each = own.map((sequence) => coefficients(sequence));
      const experts = each[0]!.length;
      routing = new Float32Array(batch.ids.length * experts);
      let row = 0;
      for (const [k, sequence] of own.entries()) {
        const { learned } = list[sequence]!;
        for (let t = 1; t < learned.length; t++, row++) if (learned[t] === 1) routing.set(each[k]!, row * experts);
      }
    }
    await trainable.evaluate(
      { ...batch, ...(routing && { routing }) },
      {
        signal,
        onRows: (nll) => {
          let row = 0;
          for (const sequence of own) {
            const { learned } = list[sequence]!;
            let [sum, count] = [0, 0];
            for (let t = 1; t < learned.length; t++, row++) {
              if (learned[t] !== 1) continue;
              sum -= nll[row]!;
              count++;
            }
            means[sequence] = sum / count;
          }
        },
      },
    );
  }
  return means;
}

/** Mean of e^x: the mean probability of answers. */
export function meanProbability(means: Float64Array): number {
  return means.reduce((sum, x) => sum + Math.exp(x), 0) / means.length;
}
