import type { TrainingSequence } from '../../datasets/training/types.ts';
import { EspalierError, throwIfAborted } from '../../errors.ts';
import type { ScoredToken } from '../../model/model.ts';
import { defined } from '../../options/defined.ts';
import { Pace } from '../../runtime/host/yielding.ts';
import { type PackedStep, packStep } from '../../train/packing.ts';
import type { Trainable } from '../../train/trainable.ts';
import { sequenceSums } from '../objective/sequences.ts';

/** Examples that go through a model together. */
export const TOGETHER = 32;

/** What of a model scores: a `Model` in a worker, or a `LocalModel`. */
export interface AnswerScorer {
  readonly config: { readonly maxPositions: number };
  scoreBatch(
    texts: readonly Int32Array[],
    options: { readonly signal?: AbortSignal },
  ): Promise<readonly (readonly Pick<ScoredToken, 'logprob'>[])[]>;
}

export interface AnswerOptions {
  readonly signal?: AbortSignal | undefined;
  /** Sequences done and in all. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/**
 * How likely a model finds answers: of each sequence the mean log-probability of the tokens that are learned, in nats; e to its power is
 * TOFU's length-normalised probability (Maini et al. 2024, arXiv 2401.06121).
 * @returns [sequences]
 * @throws E_ABORTED, E_CONTEXT_LENGTH, E_OUT_OF_MEMORY; E_TENSOR_VALUE for what is no number
 */
export async function answerLogProbabilities(
  model: AnswerScorer,
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
        if (t === 0 || learned[t] !== 1) continue;
        sum += logprob!;
        count++;
      }
      means[first + i] = -finite(-sum / count);
    }
  }
  onProgress?.(list.length, list.length);
  return means;
}

/**
 * The same of what is being trained.
 * @param batches of sequences, and which sequences stand in each
 * @returns [sequences]
 * @throws E_ABORTED, E_OUT_OF_MEMORY; E_TENSOR_VALUE for what is no number
 */
export async function batchLogProbabilities(
  trainable: Trainable,
  { batches, members }: Pick<PackedStep, 'batches' | 'members'>,
  { signal, onProgress }: AnswerOptions = {},
): Promise<Float64Array> {
  const total = members.reduce((sum, own) => sum + own.length, 0);
  const means = new Float64Array(total);
  const pace = new Pace();
  let done = 0;
  for (const [i, batch] of batches.entries()) {
    throwIfAborted(signal);
    await trainable.evaluate(batch, {
      signal,
      onRows: (nll) => {
        const { sums, tokens } = sequenceSums(batch, nll);
        for (const [k, member] of members[i]!.entries()) means[member] = -finite(sums[k]! / tokens[k]!);
      },
    });
    done += members[i]!.length;
    onProgress?.(done, total);
    await pace.breathe();
  }
  return means;
}

/** Batches in which experts act where answers are predicted. @param coefficients by sequence, of all experts: [experts] */
export function actingBatches(
  list: readonly TrainingSequence[],
  rows: number,
  coefficients: (sequence: number) => Float32Array,
): Pick<PackedStep, 'batches' | 'members'> {
  const { batches, members } = packStep(list, rows);
  const acting = batches.map((batch, i) => {
    const each = members[i]!.map(coefficients);
    const experts = each[0]!.length;
    const routing = new Float32Array(batch.ids.length * experts);
    let sequence = -1;
    for (const [row, target] of batch.targets.entries()) {
      if (batch.starts[row] === row) sequence++;
      if (target >= 0) routing.set(each[sequence]!, row * experts);
    }
    return { ...batch, routing };
  });
  return { batches: acting, members };
}

/** @throws E_TENSOR_VALUE */
function finite(loss: number): number {
  if (Number.isFinite(loss)) return loss;
  throw new EspalierError(
    'E_TENSOR_VALUE',
    `The model gives an answer a loss of ${loss}.`,
    'The model or an adapter is damaged: look at it with score.',
  );
}

/** Mean of e^x: the mean probability of answers. */
export function meanProbability(means: Float64Array): number {
  return means.reduce((sum, x) => sum + Math.exp(x), 0) / means.length;
}
