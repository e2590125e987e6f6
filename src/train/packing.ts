import type { TrainingSequence } from '../datasets/training/types.ts';
import { EspalierError } from '../errors.ts';
import type { MicroBatch } from './trainable.ts';

/** Batches whose losses and gradients add up to those of a step. */
export interface PackedStep {
  readonly batches: readonly MicroBatch[];
  /** Of each batch, which of the step's sequences stand in it, in their order. */
  readonly members: readonly (readonly number[])[];
  /** Tokens that are learned. */
  readonly targets: number;
  /** Tokens that go through the model. */
  readonly tokens: number;
}

/**
 * Packs the sequences of a step into batches of at most `rows` tokens, without padding: the longest first, each into the first batch that has
 * room (first fit decreasing: Johnson 1973), in a batch in the order in which they came.
 *
 * A sequence of L ids has L − 1 rows: its last token is a target only.
 *
 * @param weight of each token that is learned. Default 1 / (their count), so that losses add up to the mean of the step
 * @throws E_ARGUMENT for no sequence, and for one that is longer than a batch; E_DATA_INVALID where there is nothing to learn
 */
export function packStep(sequences: readonly TrainingSequence[], rows: number, weight?: number): PackedStep {
  const targets = sequences.reduce((sum, { learned }) => sum + learnedIn(learned), 0);
  if (sequences.length === 0)
    throw new EspalierError('E_ARGUMENT', 'There is no sequence to pack.', 'Give one or more.');
  if (targets === 0) {
    throw new EspalierError('E_DATA_INVALID', 'No token of the step is learned.', 'Give data with answers.');
  }
  const length = (i: number) => sequences[i]!.ids.length - 1;
  const order = Array.from(sequences.keys()).sort((a, b) => length(b) - length(a) || a - b);
  const bins: { room: number; readonly members: number[] }[] = [];
  for (const i of order) {
    if (length(i) > rows) {
      throw new EspalierError(
        'E_ARGUMENT',
        `A sequence has ${length(i)} tokens, and a batch ${rows} rows.`,
        'Give batches at least as many rows as the longest sequence has tokens.',
      );
    }
    let bin = bins.find(({ room }) => room >= length(i));
    if (bin === undefined) bins.push((bin = { room: rows, members: [] }));
    bin.room -= length(i);
    bin.members.push(i);
  }
  const members = bins.map((bin) => bin.members.sort((a, b) => a - b));
  const batches = members.map((list) =>
    pack(
      list.map((i) => sequences[i]!),
      weight ?? 1 / targets,
    ),
  );
  return { batches, members, targets, tokens: batches.reduce((sum, { ids }) => sum + ids.length, 0) };
}

/** One batch of sequences behind one another. */
function pack(sequences: readonly TrainingSequence[], weight: number): MicroBatch {
  const count = sequences.reduce((sum, { ids }) => sum + ids.length - 1, 0);
  const ids = new Int32Array(count);
  const positions = new Int32Array(count);
  const starts = new Int32Array(count);
  const targets = new Int32Array(count);
  const weights = new Float32Array(count);
  let start = 0;
  for (const sequence of sequences) {
    const rows = sequence.ids.length - 1;
    ids.set(sequence.ids.subarray(0, rows), start);
    starts.fill(start, start, start + rows);
    for (let t = 0; t < rows; t++) {
      const isLearned = sequence.learned[t + 1] === 1;
      positions[start + t] = t;
      targets[start + t] = isLearned ? sequence.ids[t + 1]! : -1;
      weights[start + t] = isLearned ? weight : 0;
    }
    start += rows;
  }
  return { ids, positions, starts, targets, weights };
}

/** Of all tokens but the first, which nothing predicts. */
function learnedIn(learned: Uint8Array): number {
  let count = 0;
  for (let i = 1; i < learned.length; i++) count += learned[i]!;
  return count;
}
