/** Options of what an open model does. */
import { callback, defaulting, oneOf, type Rule, real, type Schema, signal, truth, whole } from '../options/rules.ts';
import type { ChatOptions } from './text/options.ts';

export const contextLength: Rule<number> = whole(1);
export const promptCache: Rule<number> = whole(0);

export interface EncodePromptOptions {
  /** Whether a begin-of-text token stands first. Default: as the tokenizer says (see `Model.encode`). */
  readonly addBos?: boolean;
  /**
   * Whether special tokens written in the text become their ids. Default true. False for text that comes from a user. Of a conversation
   * `ChatOptions.specialTokensInContent` says it.
   */
  readonly specialTokens?: boolean;
}

/** Of `model.encode`, and among those of every call that takes a text. */
export const encodePromptOptions = {
  addBos: truth,
  specialTokens: defaulting(truth, true),
} as const satisfies Schema<EncodePromptOptions>;

/** How a prompt of any kind becomes tokens. */
export interface PromptOptions extends EncodePromptOptions {
  /** Of a conversation: what its template gets beside the messages. */
  readonly chat?: ChatOptions;
}

export interface ScoreOptions {
  /** Order q of the Tsallis entropy to report as well, above 0 and up to 100; default: none. */
  readonly tsallisOrder?: number;
  /** How many of the likeliest next tokens to report at every position, up to 64. Default: none but the likeliest. */
  readonly top?: number;
  /** Whether to report how experts of an adapter were chosen at every position. Default false. */
  readonly routing?: boolean;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number) => void;
}

export const scoreOptions = {
  tsallisOrder: real(0, 100, { above: true }),
  top: whole(1, 64),
  routing: defaulting(truth, false),
  ...encodePromptOptions,
  signal,
  onProgress: callback,
} as const satisfies Schema<ScoreOptions & EncodePromptOptions>;

export interface EmbedOptions {
  /**
   * What becomes of the hidden states of a text. `mean` (default): their mean over all tokens, begin-of-text included, [hidden].
   * `last`: that of the last token, which has seen all others, [hidden]. `none`: all of them, row-major [T, hidden].
   */
  readonly pool?: 'mean' | 'last' | 'none';
  /** Scales every vector to length 1. Default false. */
  readonly normalise?: boolean;
  /**
   * The residual stream after this many layers, as it is (0: the embeddings of the tokens). Default: the last layer's output
   * after the model's final norm.
   */
  readonly layer?: number;
  readonly signal?: AbortSignal;
  /** Tokens done and in all, over all texts. */
  readonly onProgress?: (done: number, total: number) => void;
}

export const embedOptions = {
  pool: defaulting(oneOf('mean', 'last', 'none'), 'mean'),
  normalise: defaulting(truth, false),
  layer: whole(0, Number.MAX_SAFE_INTEGER, 'an integer from 0 to the number of layers'),
  ...encodePromptOptions,
  signal,
  onProgress: callback,
} as const satisfies Schema<EmbedOptions & EncodePromptOptions>;

export interface ExpertLoadOptions {
  readonly signal?: AbortSignal;
  /** Tokens done and in all. */
  readonly onProgress?: (done: number, total: number) => void;
}

export const expertLoadOptions = {
  ...encodePromptOptions,
  signal,
  onProgress: callback,
} as const satisfies Schema<ExpertLoadOptions & EncodePromptOptions>;
