import type { TrainingSequence } from '../../datasets/training/types.ts';
import { exclusive } from '../../device/exclusive.ts';
import { EspalierError, throwIfAborted } from '../../errors.ts';
import type { Decoder } from '../../model/decoder.ts';
import { NULL_SLOT } from '../../model/routed/gate.ts';
import { Pace } from '../../runtime/host/yielding.ts';
import type { GateExamples } from './train-gate.ts';

/** A sequence, and the slot of the gate that is right where it is learned: `NULL_SLOT` for what is to be kept. */
export interface LabelledSequence {
  readonly sequence: TrainingSequence;
  readonly slot: number;
}

export interface FeatureOptions {
  readonly signal?: AbortSignal | undefined;
  /** Sequences done and in all. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/**
 * What a gate learns from, of each token that goes through the model: its normalised last hidden state, the mean of those so far, and the slot
 * that is right. An expert is right where the next token is learned, and nowhere in a question: keys and values of questions that are
 * kept would be spoilt by it. Two rows of f32 a token are kept, so give some of a large set.
 *
 * @param decoder the model without the adapter
 * @throws E_DATA_INVALID for no sequences; E_TENSOR_VALUE where the model gives numbers that are not finite; E_CONTEXT_LENGTH, E_OUT_OF_MEMORY,
 *   E_ABORTED
 */
export async function gateExamples(
  decoder: Decoder,
  list: readonly LabelledSequence[],
  { signal, onProgress }: FeatureOptions = {},
): Promise<GateExamples> {
  const width = decoder.config.hiddenSize;
  const rows = list.reduce((sum, { sequence }) => sum + sequence.ids.length - 1, 0);
  if (rows === 0)
    throw new EspalierError('E_DATA_INVALID', 'There is no text for the gate.', 'Give texts of both sides.');
  const now = new Float32Array(rows * width);
  const mean = new Float32Array(rows * width);
  const slots = new Int32Array(rows);
  const pace = new Pace();
  const cache = decoder.cache();
  let at = 0;
  try {
    for (const [i, { sequence, slot }] of list.entries()) {
      throwIfAborted(signal);
      const ids = sequence.ids.subarray(0, -1);
      const first = at;
      await exclusive(decoder.device, async () => {
        cache.truncate(0);
        await decoder.forward(ids, cache, {
          signal,
          onChunk: async (hidden, row) => {
            now.set((await decoder.device.read(hidden)) as Float32Array, (first + row) * width);
          },
        });
      });
      const own = [now, mean].map((of) => of.subarray(first * width, (first + ids.length) * width));
      runningMeans(own[0]!, own[1]!, width);
      for (let t = 0; t < ids.length; t++) slots[first + t] = sequence.learned[t + 1] === 1 ? slot : NULL_SLOT;
      at += ids.length;
      onProgress?.(i + 1, list.length);
      await pace.breathe();
    }
  } finally {
    cache.dispose();
  }
  const broken = mean.findIndex((x) => !Number.isFinite(x));
  if (broken < 0) return { mean, now, slots };
  throw new EspalierError(
    'E_TENSOR_VALUE',
    `The model gives hidden states that are not finite, first in row ${Math.floor(broken / width)} of the texts.`,
    'It is damaged, or computes beyond its range: look at it with score.',
  );
}

/** Row t of `out` is the mean of rows 0 .. t, summed in f64. */
export function runningMeans(rows: Float32Array, out: Float32Array, width: number): void {
  const sums = new Float64Array(width);
  for (let t = 0; t * width < rows.length; t++) {
    for (let i = 0; i < width; i++) {
      sums[i]! += rows[t * width + i]!;
      out[t * width + i] = sums[i]! / (t + 1);
    }
  }
}
