import type { TrainingData } from '../datasets/training/data.ts';
import type { SequenceEncoder } from '../datasets/training/encode.ts';
import { SequenceStream, type StreamOptions, type StreamState } from '../datasets/training/stream.ts';
import type { TrainingSequence } from '../datasets/training/types.ts';
import { EspalierError } from '../errors.ts';
import { type PackedStep, packStep } from './packing.ts';
import type { MicroBatch } from './trainable.ts';

/** Steps of so many sequences from the examples that are trained on, in batches of at most so many rows. */
export class DataSteps {
  readonly #stream: SequenceStream;
  readonly #sequences: number;
  readonly #rows: number;

  /**
   * @param sequences of one step
   * @param rows of one batch at most: at least `encoder.maxTokens`
   * @throws E_ARGUMENT for fewer rows
   */
  constructor(
    data: TrainingData,
    encoder: SequenceEncoder,
    options: Omit<StreamOptions, 'epochs'> & { readonly sequences: number; readonly rows: number },
  ) {
    this.#stream = new SequenceStream(data, data.train, encoder, options);
    this.#sequences = options.sequences;
    this.#rows = checkedRows(options.rows, encoder);
  }

  /** @throws as `SequenceStream.next` */
  async next(signal?: AbortSignal): Promise<PackedStep> {
    return packStep(await this.#stream.next(this.#sequences, signal), this.#rows);
  }

  get state(): StreamState {
    return this.#stream.state;
  }

  /** @throws E_ARGUMENT for what was no state of the same data */
  restore(state: unknown): void {
    this.#stream.restore((state ?? {}) as StreamState);
  }
}

/** Sequences that are read before they are packed into batches. */
export const HELD_AT_ONCE = 64;

/** The examples that are held out, in batches, in the order of the files; the weight of each target is 1. */
export class DataHeldOut {
  readonly #data: TrainingData;
  readonly #encoder: SequenceEncoder;
  readonly #rows: number;
  readonly #examples: Uint32Array;

  /**
   * @param examples which: of data that are held out as a whole `data.train`
   * @throws E_ARGUMENT for fewer rows than `encoder.maxTokens`
   */
  constructor(data: TrainingData, encoder: SequenceEncoder, rows: number, examples: Uint32Array = data.heldOut) {
    this.#data = data;
    this.#encoder = encoder;
    this.#rows = checkedRows(rows, encoder);
    this.#examples = examples;
  }

  /** @throws as `SequenceStream.next` */
  async *batches(): AsyncGenerator<MicroBatch> {
    const options = { seed: 0, shuffle: false, epochs: 1 };
    const stream = new SequenceStream(this.#data, this.#examples, this.#encoder, options);
    for (;;) {
      const some: TrainingSequence[] = await stream.next(HELD_AT_ONCE);
      if (some.length === 0) return;
      yield* packStep(some, this.#rows, 1).batches;
    }
  }
}

function checkedRows(rows: number, { maxTokens }: SequenceEncoder): number {
  if (rows >= maxTokens) return rows;
  throw new EspalierError(
    'E_ARGUMENT',
    `A batch has ${rows} rows, and a sequence up to ${maxTokens} tokens.`,
    'Give batches more rows, or a lower `maxTokens`.',
  );
}
