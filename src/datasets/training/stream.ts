import { EspalierError, throwIfAborted } from '../../errors.ts';
import { uniform } from '../../random.ts';
import { Pace } from '../../runtime/host/yielding.ts';
import type { TrainingData } from './data.ts';
import type { SequenceEncoder } from './encode.ts';
import type { TrainingSequence } from './types.ts';

/** Tells draws of the order from others with the same seed. */
const STREAM = 97;

/** Where a stream stands: plain data, to go on from later. */
export interface StreamState {
  /** From 0. */
  readonly epoch: number;
  /** Examples of this epoch that are done. */
  readonly done: number;
  /** Sequences that were taken of the one behind them. */
  readonly taken: number;
}

export interface StreamOptions {
  /** An integer from 0. */
  readonly seed: number;
  /** Default true: another order each epoch, of the seed and the epoch alone. False: as the files have them. */
  readonly shuffle?: boolean;
  /** After which it ends. Default: it never does. */
  readonly epochs?: number;
}

/**
 * Sequences of examples, one epoch after the other, each example once an epoch. The order is a function of seed and epoch, the same in every
 * runtime; examples are read and encoded when they are asked for.
 */
export class SequenceStream {
  readonly #data: TrainingData;
  readonly #examples: Uint32Array;
  readonly #encoder: SequenceEncoder;
  readonly #options: StreamOptions;
  readonly #pace = new Pace();
  #state: StreamState = { epoch: 0, done: 0, taken: 0 };
  #order: { readonly epoch: number; readonly list: Uint32Array } | null = null;
  /** What the example behind those that are done was made into. */
  #made: readonly TrainingSequence[] | null = null;

  /** @param examples which: `data.train`, `data.heldOut` */
  constructor(data: TrainingData, examples: Uint32Array, encoder: SequenceEncoder, options: StreamOptions) {
    this.#data = data;
    this.#examples = examples;
    this.#encoder = encoder;
    this.#options = options;
  }

  get state(): StreamState {
    return this.#state;
  }

  /** Goes on from where a stream over the same data, with the same options, stood. @throws E_ARGUMENT for what was no such state */
  restore({ epoch, done, taken }: StreamState): void {
    const isCount = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 0;
    if (!isCount(epoch) || !isCount(done) || !isCount(taken) || done > this.#examples.length) {
      throw new EspalierError('E_ARGUMENT', 'This is no state of these data.', 'Give the data that the state is of.');
    }
    this.#state = { epoch, done, taken };
    this.#made = null;
  }

  /**
   * The next sequences; fewer where the last epoch ends.
   * @throws E_DATA_INVALID for an example that is refused, and where an epoch holds no sequence; E_FILE_READ, E_ABORTED
   */
  async next(count: number, signal?: AbortSignal): Promise<TrainingSequence[]> {
    const { epochs = Number.POSITIVE_INFINITY } = this.#options;
    const list: TrainingSequence[] = [];
    let skipped = 0;
    while (list.length < count && this.#state.epoch < epochs) {
      await this.#pace.breathe();
      throwIfAborted(signal);
      const { epoch, done, taken } = this.#state;
      if (done === this.#examples.length) {
        this.#state = { epoch: epoch + 1, done: 0, taken: 0 };
        continue;
      }
      this.#made ??= await this.#encoder.encode(await this.#data.read(this.#orderOf(epoch)[done]!));
      const sequence = this.#made[taken];
      if (sequence !== undefined) {
        list.push(sequence);
        this.#state = { epoch, done, taken: taken + 1 };
        skipped = 0;
      }
      if (taken + 1 >= this.#made.length) {
        if (this.#made.length === 0 && ++skipped > this.#examples.length) throw noneShortEnough(this.#examples.length);
        this.#made = null;
        this.#state = { epoch, done: done + 1, taken: 0 };
      }
    }
    return list;
  }

  #orderOf(epoch: number): Uint32Array {
    if (this.#options.shuffle === false) return this.#examples;
    if (this.#order?.epoch !== epoch) this.#order = { epoch, list: orderOf(this.#examples, this.#options.seed, epoch) };
    return this.#order.list;
  }
}

/** Examples in random order (Fisher and Yates): of a seed and an epoch alone. Draw i of epoch e is that of the counter e · 2^32 + i. */
export function orderOf(examples: Uint32Array, seed: number, epoch: number): Uint32Array {
  const list = examples.slice();
  for (let i = list.length - 1; i > 0; i--) {
    const j = Math.floor(uniform(seed, epoch * 2 ** 32 + i, STREAM) * (i + 1));
    const x = list[i]!;
    list[i] = list[j]!;
    list[j] = x;
  }
  return list;
}

export function noneShortEnough(examples: number): EspalierError {
  return new EspalierError(
    'E_DATA_INVALID',
    `None of ${examples} examples is short enough.`,
    'Raise `maxTokens`, or let long ones be cut at their end: `long: "truncate"`.',
  );
}

/** Tokens that may stand around the texts of an example, beside what the chat template puts around the shortest. */
const FRAME = 256;

/**
 * Refuses examples that are too long, and a set of which none is left, before anything is trained. Only those with more bytes than a sequence may have tokens are encoded:
 * a token stands for one byte or more.
 * @param examples which: `data.train`, `data.heldOut`
 * @returns what none has more tokens than
 * @throws E_DATA_INVALID with file and line; E_ABORTED
 */
export async function checkLengths(
  data: TrainingData,
  examples: Uint32Array,
  encoder: SequenceEncoder,
  options: { readonly signal?: AbortSignal; readonly onProgress?: (done: number, total: number) => void } = {},
): Promise<number> {
  const frame = FRAME + (await encoder.frame());
  const pace = new Pace();
  let isSome = examples.length === 0;
  let longest = 1;
  for (const [i, index] of examples.entries()) {
    if (i % 4096 === 0) options.onProgress?.(i, examples.length);
    const most = data.lengthOf(index) + frame;
    if (most <= encoder.maxTokens) {
      isSome = true;
      longest = Math.max(longest, most);
      continue;
    }
    await pace.breathe();
    throwIfAborted(options.signal);
    const sequences = await encoder.encode(await data.read(index));
    isSome ||= sequences.length > 0;
    for (const { ids } of sequences) longest = Math.max(longest, ids.length - 1);
  }
  if (!isSome) throw noneShortEnough(examples.length);
  return longest;
}
