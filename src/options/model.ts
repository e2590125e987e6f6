/** Options of what an open model does. */
import { EspalierError } from '../errors.ts';
import type { EmbedOptions } from '../model/embed.ts';
import type { ExpertLoadOptions } from '../model/expert-load.ts';
import type { GenerateOptions } from '../model/generate/generation.ts';
import type { SamplingOptions } from '../model/generate/sampler.ts';
import type { EncodePromptOptions, PromptOptions } from '../model/model.ts';
import type { ScoreOptions } from '../model/score.ts';
import type { ChatMessage, ChatOptions } from '../model/text/chat.ts';
import { checked, object } from './check.ts';
import { checkedPrompt } from './prompt.ts';
import {
  callback,
  defaulting,
  either,
  listOf,
  oneOf,
  real,
  type Schema,
  signal,
  truth,
  whole,
  words,
} from './rules.ts';
import { chatOptions, encodePromptOptions } from './text.ts';

export const samplingOptions = {
  temperature: defaulting(real(0, 100, { takes: 'a number from 0 (greedy) to 100' }), 0),
  topK: defaulting(whole(0, Number.MAX_SAFE_INTEGER, 'an integer of at least 1, or 0 for no limit'), 0),
  topP: defaulting(real(0, 1, { above: true }), 1),
  minP: defaulting(real(0, 1), 0),
  repetitionPenalty: defaulting(real(0, 100, { above: true }), 1),
  seed: defaulting(whole(0), 0),
} as const satisfies Schema<SamplingOptions>;

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

export const scoreOptions = {
  tsallisOrder: real(0, 100, { above: true }),
  ...encodePromptOptions,
  signal,
  onProgress: callback,
} as const satisfies Schema<ScoreOptions & EncodePromptOptions>;

export const embedOptions = {
  pool: defaulting(oneOf('mean', 'last', 'none'), 'mean'),
  normalise: defaulting(truth, false),
  layer: whole(0, Number.MAX_SAFE_INTEGER, 'an integer from 0 to the number of layers'),
  ...encodePromptOptions,
  signal,
  onProgress: callback,
} as const satisfies Schema<EmbedOptions & EncodePromptOptions>;

export const expertLoadOptions = {
  ...encodePromptOptions,
  signal,
  onProgress: callback,
} as const satisfies Schema<ExpertLoadOptions & EncodePromptOptions>;
