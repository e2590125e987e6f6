import { throwIfAborted } from '../../errors.ts';
import { Pace } from '../../runtime/host/yielding.ts';
import type { TrainingData } from './data.ts';
import type { SequenceEncoder } from './encode.ts';
import { noneShortEnough } from './stream.ts';
import type { TrainingSequence } from './types.ts';

/** Sequences of data, and which example each is of, by its number in the data. */
export interface EncodedSet {
  readonly sequences: readonly TrainingSequence[];
  /** [sequences] */
  readonly examples: Uint32Array;
}

/**
 * All examples that are not held out as sequences, in the order of the files; for data that fit into memory.
 * @throws as `SequenceEncoder.encode`; E_DATA_INVALID where none is short enough; E_ABORTED
 */
export async function encodeAll(
  data: TrainingData,
  encoder: SequenceEncoder,
  options: {
    readonly signal?: AbortSignal | undefined;
    /** Examples done and in all. */
    readonly onProgress?: ((done: number, total: number) => void) | undefined;
  } = {},
): Promise<EncodedSet> {
  const pace = new Pace();
  const sequences: TrainingSequence[] = [];
  const examples: number[] = [];
  for (const [i, index] of data.train.entries()) {
    throwIfAborted(options.signal);
    for (const sequence of await encoder.encode(await data.read(index))) {
      sequences.push(sequence);
      examples.push(index);
    }
    options.onProgress?.(i + 1, data.train.length);
    await pace.breathe();
  }
  if (sequences.length > 0) return { sequences, examples: Uint32Array.from(examples) };
  throw noneShortEnough(data.train.length);
}
