/** Options of text and its tokens. */
import {
  defaulting,
  either,
  isOptions,
  like,
  listOf,
  nothing,
  type Rule,
  type Schema,
  text,
  truth,
} from '../../options/rules.ts';

export interface EncodeOptions {
  /** Whether what the model's post-processor adds (usually a begin-of-text token) is added. Default true. */
  readonly addSpecialTokens?: boolean;
  /**
   * Whether special tokens written in the text become their ids. Default true, as in Hugging Face. False for text that comes
   * from a user: `<|im_end|>` in it is then read as the letters it is made of. Added tokens that are not special always match.
   */
  readonly specialTokens?: boolean;
}

/** Of `Tokenizer.encode`. */
export const encodeOptions = {
  addSpecialTokens: defaulting(truth, true),
  specialTokens: defaulting(truth, true),
} as const satisfies Schema<EncodeOptions>;

/** A part of a text. Special tokens are found only where they lie wholly in parts that are not plain. */
export interface TextSegment {
  readonly text: string;
  /** Whether what looks like a special token here is text. */
  readonly plain: boolean;
}

export const textSegments: Rule<readonly TextSegment[]> = listOf(
  like<TextSegment>(
    'an object with a text and whether it is plain',
    (value) =>
      'text' in value && typeof value.text === 'string' && 'plain' in value && typeof value.plain === 'boolean',
  ),
);

export interface DecodeOptions {
  /** Whether special tokens are left out of the text. Default true. */
  readonly skipSpecialTokens?: boolean;
  /**
   * Whether the ids go on from others, as generated ones do from a prompt. SentencePiece marks the start of a text with a
   * space, which is taken away only where the text starts. Default false.
   */
  readonly continues?: boolean;
}

export const decodeOptions = {
  skipSpecialTokens: defaulting(truth, true),
  continues: defaulting(truth, false),
} as const satisfies Schema<DecodeOptions>;

export interface ChatOptions {
  /** Whether the text ends with the opening of the assistant's turn, so that the model answers. Default true. */
  readonly addGenerationPrompt?: boolean;
  /** What the model may call, as JSON schemas: the template's `tools`. */
  readonly tools?: readonly object[] | null;
  /** What the model is to answer from, usually with `title` and `text`: the template's `documents`. */
  readonly documents?: readonly object[] | null;
  /** Which template, where the model has several. Default: `tool_use` where it has one and `tools` are given, else `default`. */
  readonly template?: string;
  /** Default: the tokens that the tokenizer's configuration names. */
  readonly bosToken?: string;
  readonly eosToken?: string;
  /** Further variables of the template, such as `{ enable_thinking: false }`. */
  readonly variables?: Readonly<Record<string, unknown>>;
  /** The moment that `strftime_now` tells. Default: now, in local time. */
  readonly now?: Date;
  /**
   * Whether the text of a control token (a special one, or another that templates of the model write) that stands in a message, a tool, a
   * document or a variable becomes that token. Default false: what a user writes stays text, and only the template writes control tokens.
   */
  readonly specialTokensInContent?: boolean;
}

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
