/** Options of measures of unlearning that ask a model. */
import { callback, defaulting, type Schema, signal, truth, whole, words } from '../../options/rules.ts';

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
