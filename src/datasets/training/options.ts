/** Options of training data: how files are read, and how examples become tokens. */
import { object } from '../../options/check.ts';
import {
  callback,
  defaulting,
  oneOf,
  real,
  type Schema,
  signal,
  text,
  truth,
  whole,
  words,
} from '../../options/rules.ts';
import { TRAINING_FORMATS, type TrainingColumn, type TrainingFormat } from './types.ts';

export interface TrainingDataOptions {
  /** Default: by the end of the file's name. `.jsonl`, `.ndjson`; `.tsv`, `.tab`; `.csv`; `.txt`, `.text` and `.md` are `text`. */
  readonly format?: TrainingFormat;
  /** Names of columns, or of members of JSON objects, by what they hold: `{ prompt: 'question' }`. Default: the same names. */
  readonly columns?: Readonly<Partial<Record<TrainingColumn, string>>>;
  /**
   * The prompt of a row, with columns in braces: `Question: {question}\nAnswer:`. Default `{prompt}`; of parallel text
   * `{sourceLanguage}: {source}\n{language}:`, as a message `Translate from {sourceLanguage} to {language}: {source}`.
   */
  readonly prompt?: string;
  /** The answer of a row in the same way. Default `{answer}`; of parallel text ` {target}`, as a message `{target}`. */
  readonly answer?: string;
  /** Whether prompt and answer are messages of a user and the assistant, written by the model's chat template. Default false. */
  readonly chat?: boolean;
  /** Of parallel text without such a column. */
  readonly language?: string;
  /** Of parallel text without such a column. Default `English`. */
  readonly sourceLanguage?: string;
  /** Characters (of the format `text` bytes) after which a long text is cut, at a line end or a space where there is one. Default 4096. */
  readonly pieceLength?: number;
  /** Share of the examples that are held out. Default 0. */
  readonly heldOut?: number;
  /** Chooses what is held out. An integer from 0. Default 0. */
  readonly seed?: number;
  readonly signal?: AbortSignal;
  /** Bytes of all files that were looked through, and in all. */
  readonly onProgress?: (done: number, total: number) => void;
}

export const trainingDataOptions = {
  format: oneOf(...TRAINING_FORMATS),
  columns: object<Readonly<Partial<Record<TrainingColumn, string>>>>(
    {
      prompt: words,
      answer: words,
      messages: words,
      tools: words,
      text: words,
      source: words,
      target: words,
      language: words,
      sourceLanguage: words,
    },
    'columns',
  ),
  prompt: text(),
  answer: words,
  chat: defaulting(truth, false),
  language: words,
  sourceLanguage: defaulting(words, 'English'),
  pieceLength: defaulting(whole(16, 1 << 20), 4096),
  heldOut: defaulting(real(0, 0.5), 0),
  seed: defaulting(whole(0), 0),
  signal,
  onProgress: callback,
} as const satisfies Schema<TrainingDataOptions>;

export interface SequenceOptions {
  /** Which tokens are learned: those of answers (of assistants' turns), or `all`. Of plain text always all. Default `answer`. */
  readonly loss?: 'answer' | 'all';
  /** Most tokens of a sequence that go through the model. Default: as many as its context has. */
  readonly maxTokens?: number;
  /** What becomes of a longer example: it is refused (E_DATA_INVALID), cut at its end, or left out. Plain text is cut into blocks. Default `refuse`. */
  readonly long?: 'refuse' | 'truncate' | 'skip';
  /** Whether the model's end token stands behind an answer and behind a text. Default true. */
  readonly end?: boolean;
  /** Whether special tokens written in prompts, answers and texts become their ids. Default true, as of `Model.encode`. */
  readonly specialTokens?: boolean;
}

export const sequenceOptions = {
  loss: defaulting(oneOf('answer', 'all'), 'answer'),
  maxTokens: whole(2),
  long: defaulting(oneOf('refuse', 'truncate', 'skip'), 'refuse'),
  end: defaulting(truth, true),
  specialTokens: defaulting(truth, true),
} as const satisfies Schema<SequenceOptions>;
