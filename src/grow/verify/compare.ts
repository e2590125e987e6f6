import { allFinite } from '../../checkpoint/finite.ts';
import { EspalierError } from '../../errors.ts';
import { divergence, indexOfLargest, logSoftmax } from '../../model/divergence.ts';
import { rounded } from '../digits.ts';

/** How far the grown model's predictions lie from the dense one's, over the tokens of a real text. */
export interface Deviation {
  /** What was compared on: a text of ours, the caller's, or, without a tokenizer, tokens of no meaning. */
  readonly text: 'sample' | 'given' | 'token numbers';
  readonly tokens: number;
  /** Largest difference of two logits, and the same as a share of the largest logit of the dense model. */
  readonly maxAbsolute: number;
  readonly maxRelative: number;
  /** Mean of KL(dense || grown) over positions, in nats, and the largest. */
  readonly meanKl: number;
  readonly maxKl: number;
  /** Share of positions whose likeliest token is the same. */
  readonly top1Agreement: number;
}

/** A model as the comparison needs it: one at a time is held. */
export interface Predictor {
  /** Logits after each token, in rows of the vocabulary, a few at a time. */
  logits(ids: readonly number[], take: (rows: Float32Array, width: number) => void): Promise<void>;
}

/** Part of the largest logit below which two are the same, but for the order of sums. */
const ROUNDING = 1e-5;

/**
 * Compares two models' predictions after every token of a text, the dense one's first; they are kept, which takes less than its output matrix.
 * @throws E_TENSOR_VALUE when a logit is not finite, and when the dense model predicts the same whatever it reads, so that equal
 *   predictions would mean nothing; E_OUT_OF_MEMORY, E_ABORTED
 */
export async function compare(
  dense: Predictor,
  grown: Predictor,
  ids: readonly number[],
  onProgress: (fraction: number) => void,
): Promise<Omit<Deviation, 'text'>> {
  const before: Float32Array[] = [];
  const prediction = new Prediction(ids);
  await dense.logits(ids, (rows, width) => {
    checkLogits(rows, 'dense');
    for (const row of split(rows, width)) {
      prediction.take(row);
      before.push(row);
    }
  });
  prediction.check();
  onProgress(0.3);
  const sums: Sums = { largest: 0, apart: 0, kl: 0, maxKl: 0, same: 0 };
  let done = 0;
  await grown.logits(ids, (rows, width) => {
    checkLogits(rows, 'grown');
    for (const row of split(rows, width)) compareRow(before[done++]!, row, sums);
    onProgress(0.8 + (0.2 * done) / ids.length);
  });
  return {
    tokens: ids.length,
    maxAbsolute: rounded(sums.apart),
    maxRelative: rounded(sums.apart / sums.largest),
    meanKl: rounded(sums.kl / ids.length),
    maxKl: rounded(sums.maxKl),
    top1Agreement: rounded(sums.same / ids.length),
  };
}

function split(rows: Float32Array, width: number): Float32Array[] {
  return Array.from({ length: rows.length / width }, (_, i) => rows.subarray(i * width, (i + 1) * width));
}

interface Sums {
  largest: number;
  apart: number;
  kl: number;
  maxKl: number;
  same: number;
}

function checkLogits(logits: Float32Array, of: 'dense' | 'grown'): void {
  if (allFinite(logits)) return;
  throw new EspalierError(
    'E_TENSOR_VALUE',
    `The ${of} model's logits are not finite: it overflows f32 on the text that both are compared on.`,
    of === 'dense' ? 'Look at the weights of the source.' : 'Use a smaller rho, sigma or noise.',
  );
}

/** Whether a model's predictions say anything that another model's could be held against. */
class Prediction {
  readonly #texts: number;
  #first: Float32Array | null = null;
  /** Whether one token is likelier than another at any position, and whether any two positions differ. */
  #prefers = false;
  #listens = false;

  constructor(ids: readonly number[]) {
    this.#texts = new Set(ids).size;
  }

  take(logits: Float32Array): void {
    const first = (this.#first ??= logits.slice());
    const least = ROUNDING * logits.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
    this.#prefers ||= logits.some((x) => Math.abs(x - logits[0]!) > least);
    this.#listens ||= logits.some((x, i) => Math.abs(x - first[i]!) > least);
  }

  /** @throws E_TENSOR_VALUE */
  check(): void {
    const what = !this.#prefers
      ? 'gives every token the same logit'
      : !this.#listens && this.#texts > 1
        ? 'predicts the same at every position, whatever it reads'
        : null;
    if (what === null) return;
    throw new EspalierError(
      'E_TENSOR_VALUE',
      `The dense model ${what}: that the grown one does too would say nothing.`,
      'Look at the weights of the source: some are zeros or all alike. Without the comparison it is grown all the same.',
    );
  }
}

function compareRow(p: Float32Array, q: Float32Array, sums: Sums): void {
  for (let i = 0; i < p.length; i++) {
    sums.apart = Math.max(sums.apart, Math.abs(p[i]! - q[i]!));
    sums.largest = Math.max(sums.largest, Math.abs(p[i]!));
  }
  const kl = divergence(logSoftmax(p), logSoftmax(q));
  sums.kl += kl;
  sums.maxKl = Math.max(sums.maxKl, kl);
  if (indexOfLargest(p) === indexOfLargest(q)) sums.same++;
}

/** The text that models are compared on when the caller gives none: the beginning of Alice's Adventures in Wonderland (1865). */
export const SAMPLE_TEXT = `Alice was beginning to get very tired of sitting by her sister on the bank, and of having nothing to do: once or twice she had peeped into the book her sister was reading, but it had no pictures or conversations in it, "and what is the use of a book," thought Alice, "without pictures or conversations?"

So she was considering in her own mind (as well as she could, for the hot day made her feel very sleepy and stupid), whether the pleasure of making a daisy-chain would be worth the trouble of getting up and picking the daisies, when suddenly a White Rabbit with pink eyes ran close by her.

There was nothing so very remarkable in that; nor did Alice think it so very much out of the way to hear the Rabbit say to itself, "Oh dear! Oh dear! I shall be late!" (when she thought it over afterwards, it occurred to her that she ought to have wondered at this, but at the time it all seemed quite natural); but when the Rabbit actually took a watch out of its waistcoat-pocket, and looked at it, and then hurried on, Alice started to her feet.`;
