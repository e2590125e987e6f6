/** Options of text and its tokens. */
import type { SignalOption } from '../engine/model/model.ts';
import type { EncodePromptOptions } from '../model/model.ts';
import type { ChatOptions } from '../model/text/chat.ts';
import type { DecodeOptions, EncodeOptions, TextSegment } from '../model/text/tokenizer.ts';
import {
  defaulting,
  either,
  isOptions,
  like,
  listOf,
  nothing,
  type Rule,
  type Schema,
  signal,
  text,
  truth,
} from './rules.ts';

export const textSegments: Rule<readonly TextSegment[]> = listOf(
  like<TextSegment>(
    'an object with a text and whether it is plain',
    (value) =>
      'text' in value && typeof value.text === 'string' && 'plain' in value && typeof value.plain === 'boolean',
  ),
);

/** Of `Tokenizer.encode`. */
export const encodeOptions = {
  addSpecialTokens: defaulting(truth, true),
  specialTokens: defaulting(truth, true),
} as const satisfies Schema<EncodeOptions>;

export const decodeOptions = {
  skipSpecialTokens: defaulting(truth, true),
  continues: defaulting(truth, false),
} as const satisfies Schema<DecodeOptions>;

/** Of `model.encode`, and among those of every call that takes a text. */
export const encodePromptOptions = {
  addBos: truth,
  specialTokens: defaulting(truth, true),
} as const satisfies Schema<EncodePromptOptions>;

const objects: Rule<readonly object[] | null> = either(
  like<readonly object[]>('a list of objects', (value) => Array.isArray(value) && [...value].every(isOptions)),
  nothing,
);

export const chatOptions = {
  addGenerationPrompt: defaulting(truth, true),
  tools: objects,
  documents: objects,
  template: text(),
  bosToken: text(),
  eosToken: text(),
  variables: like<Readonly<Record<string, unknown>>>('an object of variables by name', isOptions),
  now: like<Date>('a valid Date', (value) => value instanceof Date && !Number.isNaN(value.getTime())),
  specialTokensInContent: defaulting(truth, false),
} as const satisfies Schema<ChatOptions>;

// the same of a model behind a worker, where a signal can fire meanwhile
export const encodeCallOptions = { ...encodePromptOptions, signal } as const satisfies Schema<
  EncodePromptOptions & SignalOption
>;
export const decodeCallOptions = { ...decodeOptions, signal } as const satisfies Schema<DecodeOptions & SignalOption>;
export const chatCallOptions = { ...chatOptions, signal } as const satisfies Schema<ChatOptions & SignalOption>;
