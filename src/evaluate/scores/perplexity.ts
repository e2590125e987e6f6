import { EspalierError } from '../../errors.ts';
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
 * @throws E_ARGUMENT for no token, and for a sum that is no number from -∞ to 0
 */
export function perplexity(texts: Iterable<TextLogProbability>): Perplexity {
  let [sum, tokens, wordCount, bytes, index] = [0, 0, 0, 0, 0];
  const encoder = new TextEncoder();
  for (const text of texts) {
    if (!(text.logProbability <= 0) || !(text.tokens >= 0)) {
      throw new EspalierError(
        'E_ARGUMENT',
        `Text ${index + 1} has ${text.tokens} tokens and a log-probability of ${text.logProbability}.`,
        'Give sums of log-probabilities in nats.',
      );
    }
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
