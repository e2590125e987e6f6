import type { LocalModel } from '../../model/model.ts';
import type { ChatMessage } from '../../model/text/chat.ts';

/** Formats of training data; docs/training.md describes each. */
export const TRAINING_FORMATS = ['jsonl', 'tsv', 'csv', 'text', 'lines', 'paragraphs'] as const;
export type TrainingFormat = (typeof TRAINING_FORMATS)[number];

/** Whether rows of a format have columns; the others are a text each. */
export const HAS_COLUMNS: Readonly<Record<TrainingFormat, boolean>> = {
  jsonl: true,
  tsv: true,
  csv: true,
  text: false,
  lines: false,
  paragraphs: false,
};

/** What a row may say, under names that `columns` may change. */
export const TRAINING_COLUMNS = [
  'prompt',
  'answer',
  'messages',
  'tools',
  'text',
  'source',
  'target',
  'language',
  'sourceLanguage',
] as const;
export type TrainingColumn = (typeof TRAINING_COLUMNS)[number];

export interface PairExample {
  readonly kind: 'pair';
  readonly prompt: string;
  readonly answer: string;
}

export interface ChatExample {
  readonly kind: 'chat';
  readonly messages: readonly ChatMessage[];
  readonly tools?: readonly object[];
}

/** A text, or a part of a long one. */
export interface TextExample {
  readonly kind: 'text';
  readonly text: string;
  /** Whether the text begins and ends with it. */
  readonly first: boolean;
  readonly last: boolean;
}

export type TrainingExample = PairExample | ChatExample | TextExample;

/** An example, and where it stands: `FILE, line N`. */
export interface PlacedExample {
  readonly example: TrainingExample;
  readonly place: string;
}

/** Token ids of one sequence. */
export interface TrainingSequence {
  /** [L]; all but the last go through the model. */
  readonly ids: Int32Array;
  /** [L] 1: the model learns to predict this token from those before it. The first is 0, the last 1. */
  readonly learned: Uint8Array;
}

/** What of a model makes tokens: a `LocalModel`, or one that answers from a worker. */
export interface SequenceModel {
  readonly name: string;
  readonly config: Pick<LocalModel['config'], 'maxPositions'>;
  readonly eosIds: readonly number[];
  readonly tokenizer: { readonly eosId: number | null };
  encode(...args: Parameters<LocalModel['encode']>): number[] | Promise<number[]>;
  encodeChat(...args: Parameters<LocalModel['encodeChat']>): number[] | Promise<number[]>;
}

/** Token ids, and from where on which are learned. */
export interface Marked {
  readonly ids: readonly number[];
  /** Stretches of ids, [from, to), in order. */
  readonly learned: readonly (readonly [from: number, to: number])[];
}
