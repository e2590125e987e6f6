/** Options of measures of unlearning that ask a model. */
import { callback, defaulting, real, type Schema, signal, text, truth, whole, words } from '../../options/rules.ts';

/** How a question is put to a model. */
export interface AskingOptions {
  /** Template of prompts, with the columns in braces. Default `Question: {question}\nAnswer:`. */
  readonly prompt?: string;
  /** Template of answers behind them. Default ` {answer}`. */
  readonly answer?: string;
  /** Whether questions and answers are messages, written by the chat template, in place of the templates. Default false. */
  readonly chat?: boolean;
}

export const askingOptions = {
  prompt: defaulting(words, 'Question: {question}\nAnswer:'),
  answer: defaulting(words, ' {answer}'),
  chat: defaulting(truth, false),
} as const satisfies Schema<AskingOptions>;

/** What goes on, of how many rows. */
export interface MeasureProgress {
  /** Of which file or measure. */
  readonly of: string;
  readonly doing: 'scoring' | 'answering';
  /** Rows of it, done and in all. */
  readonly done: number;
  readonly total: number;
}

export interface MeasureRunOptions {
  /** Answers that are written at once. From 1 to 64; default 32. */
  readonly batch?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: MeasureProgress) => void;
}

const runOptions = {
  batch: defaulting(whole(1, 64), 32),
  signal,
  onProgress: callback,
} as const satisfies Schema<MeasureRunOptions>;

export interface TofuOptions extends AskingOptions, MeasureRunOptions {
  /** Whether the model writes answers, for ROUGE-L; without there is no utility. Default true. */
  readonly rouge?: boolean;
  /** Most tokens of a written answer. Default 200. */
  readonly maxTokens?: number;
}

export const tofuOptions = {
  ...askingOptions,
  rouge: defaulting(truth, true),
  maxTokens: defaulting(whole(1), 200),
  ...runOptions,
} as const satisfies Schema<TofuOptions>;

export interface MuseOptions extends AskingOptions, MeasureRunOptions {
  /** Examples before each question of KnowMem, of those that the data have. Default: all, ten as published. */
  readonly shots?: number;
  /** Share of the tokens of a text that Min-K looks at, above 0 and up to 1. Default 0.4. */
  readonly share?: number;
}

export const museOptions = {
  ...askingOptions,
  shots: whole(0),
  share: defaulting(real(0, 1, { above: true }), 0.4),
  ...runOptions,
} as const satisfies Schema<MuseOptions>;

export interface ChoiceOptions {
  /** What the questions are about, of rows without a `subject`. Default: nothing is said. */
  readonly subject?: string;
  /** Template of what stands before a question of a subject. Default `The following are multiple choice questions (with answers) about {subject}.\n\n`. */
  readonly description?: string;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: MeasureProgress) => void;
}

export const choiceOptions = {
  subject: words,
  description: defaulting(text(), 'The following are multiple choice questions (with answers) about {subject}.\n\n'),
  signal,
  onProgress: callback,
} as const satisfies Schema<ChoiceOptions>;

export interface FluencyOptions extends Pick<AskingOptions, 'prompt' | 'chat'> {
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: MeasureProgress) => void;
}

export const fluencyOptions = {
  prompt: askingOptions.prompt,
  chat: askingOptions.chat,
  signal,
  onProgress: callback,
} as const satisfies Schema<FluencyOptions>;
