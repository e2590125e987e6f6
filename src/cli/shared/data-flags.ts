import type { DataSource } from '../../datasets/source.ts';
import { openTrainingData, type TrainingData } from '../../datasets/training/data.ts';
import type { SequenceEncoder } from '../../datasets/training/encode.ts';
import {
  type SequenceOptions,
  sequenceOptions,
  type TrainingDataOptions,
  trainingDataOptions,
} from '../../datasets/training/options.ts';
import { scoringEncoder } from '../../datasets/training/scoring-encoder.ts';
import type { Model } from '../../engine/model/model.ts';
import { EspalierError } from '../../errors.ts';
import type { Values } from './command.ts';
import { optionFlags } from './flags.ts';
import { Progress } from './format.ts';

const data = optionFlags<TrainingDataOptions>(trainingDataOptions, {
  format: {
    value: 'NAME',
    description: 'jsonl, tsv, csv, text, lines or paragraphs; default: by the name of the file',
  },
  columns: null, // --column
  prompt: { value: 'TEXT', description: 'Template of prompts, with columns in braces and \\n for a line end' },
  answer: { value: 'TEXT', description: 'Template of answers' },
  chat: { description: 'Prompts and answers are messages, written by the chat template' },
  language: { value: 'NAME', description: 'Language of targets, where no column says it' },
  sourceLanguage: { value: 'NAME', description: 'Language of sources, where no column says it' },
  pieceLength: { value: 'N', description: 'Characters after which a long text is cut' },
  heldOut: {
    value: 'SHARE',
    description: 'Take this share of the examples alone: what training holds out with the same seed',
  },
  seed: { value: 'N', description: 'Chooses what is held out' },
  signal: null,
  onProgress: null,
});

const sequences = optionFlags<SequenceOptions>(sequenceOptions, {
  loss: { value: 'WHAT', description: 'Which tokens count: answer, or all' },
  maxTokens: { value: 'N', description: 'Most tokens of an example; default: the model’s context' },
  long: { value: 'WHAT', description: 'What becomes of longer ones: refuse, truncate or skip' },
  end: { description: 'The end token behind answers counts (the default)', negative: 'No end token is added' },
  specialTokens: {
    description: 'Names of special tokens in the data are those tokens (the default)',
    negative: 'They are the letters that they are made of',
  },
});

/** Arguments of commands that take training data. */
export const dataArguments = {
  data: {
    type: 'string',
    value: 'FILE',
    many: true,
    required: true,
    description: 'JSON lines, TSV, CSV or plain text',
  },
  ...data.args,
  column: {
    type: 'string',
    value: 'WHAT=NAME',
    many: true,
    description: 'A column by another name: prompt=question; also answer, messages, text, source, target, language',
  },
  ...sequences.args,
} as const;

const {
  'held-out': _,
  loss: __,
  seed: ___,
  ...answers
} = dataArguments as typeof dataArguments & Readonly<Record<'held-out' | 'loss' | 'seed', object>>;

/** The same of commands for which every answer counts. */
export const answerArguments = answers;

/** Options that are flags of these arguments, for commands whose own options have them as well. */
export const OF_DATA = {
  format: null,
  columns: null,
  prompt: null,
  answer: null,
  chat: null,
  language: null,
  sourceLanguage: null,
  pieceLength: null,
  maxTokens: null,
  long: null,
  specialTokens: null,
  end: null,
} as const;

/** Options of jobs in workers that no command has: what the environment says, and what a program gives. */
export const OF_PROGRAMS = {
  hub: null,
  cache: null,
  transfer: null,
  signal: null,
  onDownload: null,
  onProgress: null,
  wasmLocation: null,
  workerLocation: null,
  laneLocation: null,
} as const;

/** Those that say what the examples are, in the order of the help. */
export const DATA_FLAGS = [
  ...(['data', 'format', 'column', 'prompt', 'answer', 'chat', 'language', 'source-language', 'piece-length'] as const),
  ...(['loss', 'max-tokens', 'long', 'end', 'special-tokens'] as const),
];

type Given = Readonly<Record<string, unknown>> & Pick<Values<typeof dataArguments>, 'column'>;

/** A template as a shell gives it: `\n` is a line end, `\t` a tab. */
export const unescaped = (text: string): string => text.replaceAll('\\n', '\n').replaceAll('\\t', '\t');

/** What the flags say of tokens. */
export const sequenceOptionsOf = (args: Readonly<Record<string, unknown>>): SequenceOptions => sequences.options(args);

/** Makes tokens of examples that are scored, as the flags say. @throws E_ARGUMENT */
export function encoderOf(model: Model, args: Given): SequenceEncoder {
  return scoringEncoder(model, sequenceOptionsOf(args));
}

/** What the flags say of files. @throws E_ARGUMENT */
export function dataOptionsOf(args: Given): TrainingDataOptions {
  const options = data.options(args);
  const columns = (args.column ?? []).map((pair) => {
    const [, what, name] = /^([^=]+)=(.+)$/s.exec(pair) ?? [];
    if (what !== undefined) return [what, name] as const;
    throw new EspalierError('E_ARGUMENT', `--column is ${JSON.stringify(pair)}.`, 'Write prompt=question.');
  });
  const { prompt, answer } = options;
  return {
    ...options,
    ...(prompt !== undefined && { prompt: unescaped(prompt) }),
    ...(answer !== undefined && { answer: unescaped(answer) }),
    ...(columns.length > 0 && { columns: Object.fromEntries(columns) }),
  };
}

/** Opens the files with a progress bar. @throws as `openTrainingData` */
export async function openDataWithProgress(
  sources: readonly DataSource[],
  options: TrainingDataOptions,
  silent: boolean,
): Promise<TrainingData> {
  const bar = new Progress({ label: 'reading', total: 1, silent });
  try {
    return await openTrainingData(sources, {
      ...options,
      onProgress: (done, total) => bar.update(done / (total || 1)),
    });
  } finally {
    bar.end();
  }
}
