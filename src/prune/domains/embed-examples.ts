import type { TrainingData } from '../../datasets/training/data.ts';
import type { SequenceEncoder } from '../../datasets/training/encode.ts';
import type { TrainingSequence } from '../../datasets/training/types.ts';
import { EspalierError, throwIfAborted } from '../../errors.ts';
import type { EmbedOptions } from '../../model/options.ts';
import type { TokenIds } from '../../model/prompt.ts';
import { defined } from '../../options/defined.ts';
import { type SubDomains, subDomainsOf } from './sub-domains.ts';

/** Examples that are embedded at once: short ones share passes on a GPU. */
const TOGETHER = 32;

/** What of a model embeds: a `Model` in a worker, or a `LocalModel`. */
export interface EmbeddingModel {
  embed(input: readonly TokenIds[], options: EmbedOptions): Promise<Float32Array[]>;
}

export interface EmbedExamplesOptions {
  readonly signal?: AbortSignal;
  /** Examples done and in all. */
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * A vector of length 1 for each example: the mean of the model's last hidden states over all its tokens, prompt and answer. Of an example that
 * is several sequences the mean is over all of their tokens.
 * @param examples which: `data.train`, `data.heldOut`
 * @throws E_DATA_INVALID for an example that is refused, or left out as too long: it would belong to no domain; E_ABORTED
 */
export async function embedExamples(
  model: EmbeddingModel,
  data: TrainingData,
  encoder: SequenceEncoder,
  options: EmbedExamplesOptions = {},
  examples: Uint32Array = data.train,
): Promise<Float32Array[]> {
  const { signal, onProgress } = options;
  const vectors: Float32Array[] = [];
  for (let first = 0; first < examples.length; first += TOGETHER) {
    throwIfAborted(signal);
    onProgress?.(first, examples.length);
    const some: (readonly TrainingSequence[])[] = [];
    for (const index of examples.subarray(first, first + TOGETHER)) {
      const sequences = await encoder.encode(await data.read(index));
      if (sequences.length === 0) {
        throw new EspalierError(
          'E_DATA_INVALID',
          `${data.placeOf(index)}: the example is too long, and belongs to no domain.`,
          'Let long ones be cut: `long: "truncate"`.',
        );
      }
      some.push(sequences);
    }
    const means = await model.embed(
      some.flatMap((sequences) => sequences.map(({ ids }) => ids)),
      {
        ...defined({ signal }),
        onProgress: (done, total) => onProgress?.(first + Math.floor((some.length * done) / total), examples.length),
      },
    );
    let at = 0;
    for (const sequences of some) {
      vectors.push(joined(means.slice(at, at + sequences.length), sequences));
      at += sequences.length;
    }
  }
  onProgress?.(examples.length, examples.length);
  return vectors;
}

/** The mean of an example's tokens, of length 1. @param means of its sequences */
function joined(means: readonly Float32Array[], sequences: readonly TrainingSequence[]): Float32Array {
  const sum = new Float64Array(means[0]!.length);
  for (const [i, mean] of means.entries()) {
    for (let k = 0; k < sum.length; k++) sum[k]! += mean[k]! * sequences[i]!.ids.length;
  }
  const length = Math.sqrt(sum.reduce((total, x) => total + x * x, 0));
  return Float32Array.from(sum, (x) => (length > 0 ? x / length : 0));
}

/**
 * Sub-domains as a column of the data names them.
 * @throws E_DATA_INVALID with file and line where an example has none, E_FILE_READ
 */
export async function domainsOfColumn(
  data: TrainingData,
  column: string,
  examples: Uint32Array = data.train,
): Promise<SubDomains> {
  const labels: unknown[] = [];
  for (const index of examples) {
    const label = await data.column(index, column);
    if ((typeof label !== 'string' || label.trim() === '') && typeof label !== 'number') {
      const what = `${data.placeOf(index)}: there is no ${column} that names a domain.`;
      throw new EspalierError('E_DATA_INVALID', what, 'Give each example a text or a number there.');
    }
    labels.push(typeof label === 'string' ? label.trim() : label);
  }
  return subDomainsOf(labels);
}
