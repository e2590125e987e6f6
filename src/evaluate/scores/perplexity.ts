import { EspalierError } from '../../errors.ts';
import { shown } from '../../options/shown.ts';
import { checkedText } from '../../options/texts.ts';
import { words } from './words.ts';

/** What a model gives a text. */
export interface TextLogProbability {
  /** Sum over the tokens that count, in nats. */
  readonly logProbability: number;
  /** How many these are. */
  readonly tokens: number;
  /** The text of these tokens, for figures a word and a byte. */
  readonly text: string;
}

export interface Perplexity {
  /** exp of the mean negative log-probability a token, a word between white space, and a UTF-8 byte. */
  readonly perToken: number;
  readonly perWord: number;
  readonly perByte: number;
  /** Mean negative log-probability of a token in nats, and of a byte in bits. */
  readonly crossEntropy: number;
  readonly bitsPerByte: number;
  readonly tokens: number;
  readonly words: number;
  readonly bytes: number;
}

/**
 * Perplexity over texts. That a token is comparable between models of one tokenizer only; those a word and a byte are between all that see
 * the same texts.
 * @throws E_ARGUMENT for no token, for what is no list of texts, and for a sum that is no number from -∞ to 0
 */
export function perplexity(texts: Iterable<TextLogProbability>): Perplexity {
  let [sum, tokens, wordCount, bytes, index] = [0, 0, 0, 0, 0];
  const encoder = new TextEncoder();
  if (typeof (texts as Partial<typeof texts> | null)?.[Symbol.iterator] !== 'function') {
    throw new EspalierError('E_ARGUMENT', `The texts are ${shown(texts)}.`, 'Give a list of them.');
  }
  for (const text of texts) {
    const { logProbability, tokens: count, text: own } = (text ?? {}) as Partial<TextLogProbability>;
    if (typeof logProbability !== 'number' || !(logProbability <= 0) || !Number.isSafeInteger(count) || count! < 0) {
      throw new EspalierError(
        'E_ARGUMENT',
        `Text ${index + 1} has ${shown(count)} tokens and a log-probability of ${shown(logProbability)}.`,
        'Give sums of log-probabilities in nats.',
      );
    }
    checkedText(own, `Text ${index + 1}`);
    sum -= text.logProbability;
    tokens += text.tokens;
    wordCount += words(text.text).length;
    bytes += encoder.encode(text.text).length;
    index++;
  }
  if (tokens === 0) throw new EspalierError('E_ARGUMENT', 'No token counts.', 'Give texts of two tokens or more.');
  return {
    perToken: Math.exp(sum / tokens),
    perWord: Math.exp(sum / wordCount),
    perByte: Math.exp(sum / bytes),
    crossEntropy: sum / tokens,
    bitsPerByte: sum / bytes / Math.LN2,
    tokens,
    words: wordCount,
    bytes,
  };
}
