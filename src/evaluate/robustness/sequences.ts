import { orderOf } from '../../datasets/training/stream.ts';
import type { TrainingSequence } from '../../datasets/training/types.ts';
import { EspalierError } from '../../errors.ts';
import { batchLogProbabilities } from '../../prune/measure/answers.ts';
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
 * The length-normalised probability of the learned tokens of each sequence, e^(mean of their log-probabilities).
 * @throws as `batchLogProbabilities`
 */
export async function probabilitiesOf(
  trainable: Trainable,
  sequences: readonly RoutedSequence[],
  { rows, signal, onProgress }: RunOptions,
): Promise<Float64Array> {
  const means = await batchLogProbabilities(trainable, routedBatches(sequences, rows), { signal, onProgress });
  // a sum of logarithms may be -0
  return means.map((mean) => answerProbability(Math.max(0, -mean)));
}
