/** Options of sampling and of generation. */
import { EspalierError } from '../../errors.ts';
import { checked, object } from '../../options/check.ts';
import { defaulting, either, listOf, real, type Schema, signal, truth, whole, words } from '../../options/rules.ts';
import { encodePromptOptions, type PromptOptions } from '../options.ts';
import { checkedPrompt } from '../prompt.ts';
import type { ChatMessage } from '../text/chat.ts';
import { type ChatOptions, chatOptions } from '../text/options.ts';

/**
 * How the next token is drawn. The options act in Hugging Face's order: repetition penalty, temperature, top-k, top-p,
 * min-p; each sees what the one before has left, renormalised.
 */
export interface SamplingOptions {
  /** Divides the logits; 0 takes the likeliest token (greedy). From 0 to 100; default 0. */
  readonly temperature?: number;
  /** Keeps the k likeliest tokens; 0 keeps all. Default 0. */
  readonly topK?: number;
  /** Keeps the likeliest tokens until their mass reaches this, the one that crosses it included. In (0, 1]; default 1. */
  readonly topP?: number;
  /** Keeps tokens at least this many times as likely as the likeliest. In [0, 1]; default 0. */
  readonly minP?: number;
  /** Divides positive and multiplies negative logits of tokens already seen. In (0, 100]; default 1. */
  readonly repetitionPenalty?: number;
  /** An integer from 0 to 2^53 - 1: the same seed draws the same tokens in every runtime. Default 0. */
  readonly seed?: number;
}

export const samplingOptions = {
  temperature: defaulting(real(0, 100, { takes: 'a number from 0 (greedy) to 100' }), 0),
  topK: defaulting(whole(0, Number.MAX_SAFE_INTEGER, 'an integer of at least 1, or 0 for no limit'), 0),
  topP: defaulting(real(0, 1, { above: true }), 1),
  minP: defaulting(real(0, 1), 0),
  repetitionPenalty: defaulting(real(0, 100, { above: true }), 1),
  seed: defaulting(whole(0), 0),
} as const satisfies Schema<SamplingOptions>;

export interface GenerateOptions extends SamplingOptions {
  /** Most tokens to generate; the context of the model may end it earlier. Default 256. */
  readonly maxTokens?: number;
  /** One or several strings that end the text and are not part of it. */
  readonly stop?: string | readonly string[];
  /** Whether the model's end-of-text tokens end it. Default true. */
  readonly stopAtEos?: boolean;
  /** Whether special tokens show in the text. Default false. */
  readonly showSpecialTokens?: boolean;
  /** Aborts within one token, or one layer of the prompt: iteration throws E_ABORTED. */
  readonly signal?: AbortSignal;
}

/** Those of one generation; `generateOptions` are of a call, whose prompt may be a text. */
export const generationOptions = {
  ...samplingOptions,
  maxTokens: defaulting(whole(1), 256),
  stop: either(words, listOf(words)),
  stopAtEos: defaulting(truth, true),
  showSpecialTokens: defaulting(truth, false),
  signal,
} as const satisfies Schema<GenerateOptions>;

export const generateOptions = {
  ...generationOptions,
  ...encodePromptOptions,
  chat: object<ChatOptions>(chatOptions, 'chat'),
} as const satisfies Schema<GenerateOptions & PromptOptions>;

/** What `generate` is given. @throws E_ARGUMENT */
export function checkedGeneration(
  prompt: unknown,
  options: unknown,
  vocabSize: number,
): {
  readonly prompt: string | number[] | readonly ChatMessage[];
  readonly options: GenerateOptions & PromptOptions;
} {
  const given = checked<GenerateOptions & PromptOptions>(generateOptions, options, 'generate');
  const wanted = checkedPrompt(prompt, 'The prompt', vocabSize);
  if (given.chat !== undefined && (typeof wanted === 'string' || typeof wanted[0] === 'number')) {
    const hint = 'Give [{ role: "user", content: "…" }], or leave chat out.';
    throw new EspalierError('E_ARGUMENT', 'chat is given, and the prompt is no conversation.', hint);
  }
  return { prompt: wanted, options: given };
}
