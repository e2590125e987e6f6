import { checkedList } from '../options/texts.ts';

/** Formats that are read; docs/showing.md describes each. */
export const DATA_FORMATS = [
  'trec',
  'trec-fine',
  'banking77',
  'clinc150',
  'hwu64',
  'sst2',
  'gsm8k',
  'mgsm',
  'jsonl',
] as const;
export type DataFormat = (typeof DATA_FORMATS)[number];

/** What a file, or a part of it, is for. */
export type DataPart = 'train' | 'dev' | 'test';

/** One worked example. */
export interface Example {
  readonly input: string;
  /** The label in words, or the text to generate. */
  readonly output: string;
}

export interface Examples {
  /** `labels`: outputs are one of few; `text`: they are to be generated. */
  readonly kind: 'labels' | 'text';
  readonly list: readonly Example[];
}

/** @throws E_ARGUMENT */
export function checkedExamples(examples: unknown, name: string): readonly Example[] {
  return checkedList(examples, name, [
    ['input', false],
    ['output', false],
  ]);
}
