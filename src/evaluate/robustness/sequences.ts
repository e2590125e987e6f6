import type { TrainingData } from '../../datasets/training/data.ts';
import type { SequenceEncoder } from '../../datasets/training/encode.ts';
import { orderOf } from '../../datasets/training/stream.ts';
import type { TrainingSequence } from '../../datasets/training/types.ts';
import { EspalierError, throwIfAborted } from '../../errors.ts';
import { Pace } from '../../runtime/host/yielding.ts';
import { packStep } from '../../train/packing.ts';
import type { MicroBatch, Trainable } from '../../train/trainable.ts';
import { answerProbability } from '../unlearning/measures.ts';

/** A sequence, and what experts of an adapter do in it. */
export interface RoutedSequence extends TrainingSequence {
  /** [L - 1, experts] coefficients of the tokens that go through the model; null without such an adapter. */
  readonly routing: Float32Array | null;
}

export interface RunOptions {
  /** Most tokens of a pass. */
  readonly rows: number;
  readonly signal: AbortSignal | undefined;
  /** Done and in all. */
  readonly onProgress: (done: number, total: number) => void;
}

/** All examples as sequences, in the order of the files. @throws as `SequenceEncoder.encode`; E_DATA_INVALID where none is short enough */
export async function sequencesOf(
  data: TrainingData,
  encoder: SequenceEncoder,
  { signal, onProgress }: Omit<RunOptions, 'rows'>,
): Promise<TrainingSequence[]> {
  const pace = new Pace();
  const list: TrainingSequence[] = [];
  for (const [i, index] of data.train.entries()) {
    throwIfAborted(signal);
    list.push(...(await encoder.encode(await data.read(index))));
    onProgress(i + 1, data.train.length);
    await pace.breathe();
  }
  if (list.length > 0) return list;
  throw new EspalierError(
    'E_DATA_INVALID',
    `None of ${data.train.length} examples is short enough.`,
    'Raise `maxTokens`, or let long ones be cut: `long: "truncate"`.',
  );
}

/** Which sequences an attack trains on, and which it only looks at: numbers, each list in ascending order. */
export interface Division {
  readonly trained: readonly number[];
  readonly held: readonly number[];
}

/**
 * Draws a share of the sequences. Those with the same prompt are on the same side, so that no answer is trained that is asked for again.
 * @throws E_DATA_INVALID where a share below 1 leaves a side empty
 */
export function divide(sequences: readonly TrainingSequence[], share: number, seed: number): Division {
  const all = Array.from(sequences.keys());
  if (share === 1) return { trained: all, held: [] };
  const groups = new Map<string, number[]>();
  for (const i of all) {
    const { ids, learned } = sequences[i]!;
    const prompt = learned.indexOf(1, 1);
    // a text has no prompt
    const key = prompt > 1 ? ids.subarray(0, prompt).join() : `text ${i}`;
    groups.set(key, [...(groups.get(key) ?? []), i]);
  }
  const list = [...groups.values()];
  const wanted = share * all.length;
  const sides: { trained: number[]; held: number[] } = { trained: [], held: [] };
  for (const group of orderOf(Uint32Array.from(list.keys()), seed, 0)) {
    const side = sides.trained.length < wanted ? sides.trained : sides.held;
    side.push(...list[group]!);
  }
  if (sides.held.length === 0) {
    throw new EspalierError(
      'E_DATA_INVALID',
      `A share of ${share} of ${all.length} examples leaves none that is not trained on.`,
      'Give more examples, or a smaller share.',
    );
  }
  const ascending = (side: number[]) => side.sort((a, b) => a - b);
  return { trained: ascending(sides.trained), held: ascending(sides.held) };
}

/** Batches of at most so many rows, and which sequences stand in each; losses and gradients are those of the mean over all learned tokens. */
export function routedBatches(
  sequences: readonly RoutedSequence[],
  rows: number,
): { readonly batches: readonly MicroBatch[]; readonly members: readonly (readonly number[])[] } {
  const { batches, members } = packStep(sequences, rows);
  const routed = batches.map((batch, i): MicroBatch => {
    const own = members[i]!.map((member) => sequences[member]!.routing);
    if (own.some((routing) => routing === null)) return batch;
    const routing = new Float32Array(own.reduce((sum, one) => sum + one!.length, 0));
    let at = 0;
    for (const one of own) {
      routing.set(one!, at);
      at += one!.length;
    }
    return { ...batch, routing };
  });
  return { batches: routed, members };
}

/**
 * The length-normalised probability of the learned tokens of each sequence, e^(-mean of their negative log-probabilities).
 * @throws as `Trainable.evaluate`
 */
export async function probabilitiesOf(
  trainable: Trainable,
  sequences: readonly RoutedSequence[],
  { rows, signal, onProgress }: RunOptions,
): Promise<Float64Array> {
  const found = new Float64Array(sequences.length);
  const { batches, members } = routedBatches(sequences, rows);
  const pace = new Pace();
  let done = 0;
  for (const [i, batch] of batches.entries()) {
    let row = 0;
    await trainable.evaluate(batch, {
      signal,
      onRows: (nll) => {
        for (const member of members[i]!) {
          const { ids, learned } = sequences[member]!;
          let [sum, count] = [0, 0];
          for (let t = 1; t < ids.length; t++, row++) {
            if (learned[t] !== 1) continue;
            sum += nll[row]!;
            count++;
          }
          // a sum of logarithms may be -0
          found[member] = answerProbability(Math.max(0, finite(sum / count)));
        }
      },
    });
    done += members[i]!.length;
    onProgress(done, sequences.length);
    await pace.breathe();
  }
  return found;
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
