import { EspalierError } from '../../errors.ts';
import type { MicroBatch } from '../../train/trainable.ts';

/** Of the sequences of a batch, in their order. */
export interface SequenceSums {
  /** Of the cross-entropies of their targets, in nats. */
  readonly sums: Float64Array;
  /** Targets. */
  readonly tokens: Int32Array;
}

/** Sums by sequence. @param nll [T] as `PassOptions.onRows` gives them. @throws E_ARGUMENT for another number of rows */
export function sequenceSums(batch: Pick<MicroBatch, 'starts' | 'targets'>, nll: ArrayLike<number>): SequenceSums {
  const { targets } = batch;
  if (nll.length !== targets.length) refuse(`${nll.length} cross-entropies for ${targets.length} rows`);
  const { of, count } = sequences(batch);
  const [sums, tokens] = [new Float64Array(count), new Int32Array(count)];
  for (const [row, target] of targets.entries()) {
    if (target < 0) continue;
    sums[of[row]!]! += nll[row]!;
    tokens[of[row]!]!++;
  }
  return { sums, tokens };
}

/** [T] Weights of a batch's rows: of each target that of its sequence, 0 beside. @throws E_ARGUMENT for another number of sequences */
export function sequenceWeights(
  batch: Pick<MicroBatch, 'starts' | 'targets'>,
  weights: ArrayLike<number>,
): Float32Array {
  const { of, count } = sequences(batch);
  if (weights.length !== count) refuse(`${weights.length} weights for ${count} sequences`);
  return Float32Array.from(batch.targets, (target, row) => (target < 0 ? 0 : weights[of[row]!]!));
}

/** Which sequence each row is of. */
function sequences({ starts }: Pick<MicroBatch, 'starts'>): { readonly of: Int32Array; readonly count: number } {
  let count = 0;
  const of = starts.map((start, row) => (start === row ? count++ : count - 1));
  return { of, count };
}

function refuse(what: string): never {
  throw new EspalierError('E_ARGUMENT', `A batch is given ${what}.`, 'Give one of each, in their order.');
}
