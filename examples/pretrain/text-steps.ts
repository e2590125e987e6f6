import type { SequenceEncoder } from '../../src/datasets/training/encode.ts';
import type { TrainingSequence } from '../../src/datasets/training/types.ts';
import { EspalierError, throwIfAborted } from '../../src/errors.ts';
import { packStep } from '../../src/train/packing.ts';
import type { HeldOutSource, StepSource, TrainingStep } from '../../src/train/sources.ts';
import type { MicroBatch } from '../../src/train/trainable.ts';
import { HELD_OUT, type Mixture, PLAIN, textAt } from './texts.ts';

async function encoded(
  encoder: SequenceEncoder,
  seed: number,
  index: number,
  mixture: Mixture,
): Promise<TrainingSequence[]> {
  const example = { kind: 'text', text: textAt(seed, index, mixture), first: true, last: true } as const;
  return encoder.encode({ example, place: `text ${index}` });
}

export interface TextStepsOptions {
  readonly seed: number;
  /** Default: `PLAIN`. */
  readonly mixture?: Mixture;
  /** Tokens of a step at most, and of a batch. */
  readonly tokens: number;
  readonly rows: number;
}

/** Steps of so many tokens from the stream of texts, each text once. Where it stands is the number of the next text. */
export class TextSteps implements StepSource {
  readonly #encoder: SequenceEncoder;
  readonly #options: TextStepsOptions;
  #next = 0;

  constructor(encoder: SequenceEncoder, options: TextStepsOptions) {
    this.#encoder = encoder;
    this.#options = options;
  }

  async next(signal?: AbortSignal): Promise<TrainingStep> {
    const { seed, tokens, rows, mixture = PLAIN } = this.#options;
    const list: TrainingSequence[] = [];
    for (let sum = 0; ; this.#next++) {
      throwIfAborted(signal);
      const sequences = await encoded(this.#encoder, seed, this.#next, mixture);
      const own = sequences.reduce((all, { ids }) => all + ids.length - 1, 0);
      // the text that does not fit begins the next step
      if (list.length > 0 && sum + own > tokens) break;
      sum += own;
      list.push(...sequences);
    }
    return packStep(list, rows);
  }

  get state(): number {
    return this.#next;
  }

  restore(state: unknown): void {
    if (!Number.isSafeInteger(state) || (state as number) < 0) {
      throw new EspalierError(
        'E_ARGUMENT',
        'This is no place in the stream.',
        'Go on with the folder of this training.',
      );
    }
    this.#next = state as number;
  }
}

export interface HeldOutTextsOptions {
  readonly seed: number;
  /** Default: `PLAIN`. Of its written stories none is taken, since each of them is trained on. */
  readonly mixture?: Mixture;
  readonly rows: number;
  readonly texts: number;
}

/** Texts that are never trained on. */
export class HeldOutTexts implements HeldOutSource {
  readonly #encoder: SequenceEncoder;
  readonly #options: HeldOutTextsOptions;

  constructor(encoder: SequenceEncoder, options: HeldOutTextsOptions) {
    this.#encoder = encoder;
    this.#options = options;
  }

  async *batches(): AsyncGenerator<MicroBatch> {
    const { seed, rows, texts, mixture = PLAIN } = this.#options;
    const own = { ...mixture, stories: [] };
    const list: TrainingSequence[] = [];
    for (let i = 0; i < texts; i++) list.push(...(await encoded(this.#encoder, seed, HELD_OUT + i, own)));
    yield* packStep(list, rows, 1).batches;
  }
}
