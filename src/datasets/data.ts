import { EspalierError } from '../errors.ts';
import { checked } from '../options/check.ts';
import { shown } from '../options/shown.ts';
import type { DataFormat, DataPart, Example, Examples } from './format.ts';
import { dataFormat, type ParseDataOptions, parseDataOptions } from './options.ts';
import { type Row, rowsOfCsv, rowsOfLines } from './rows.ts';
import { verbalise } from './templates.ts';

export { DATA_FORMATS, type DataFormat, type DataPart, type Example, type Examples } from './format.ts';
export type { ParseDataOptions } from './options.ts';

/** Words of TREC's coarse classes, as Parallel Context Windows and its successors prompt them (spec 7.1). */
const TREC_COARSE: Readonly<Record<string, string>> = {
  ABBR: 'abbreviation',
  ENTY: 'entity',
  DESC: 'description',
  HUM: 'human',
  LOC: 'location',
  NUM: 'numeric',
};

/** Words of the fine classes that are abbreviated in the files; the others are words already (Li and Roth 2002). */
const TREC_FINE: Readonly<Record<string, string>> = {
  abb: 'abbreviation',
  cremat: 'creation',
  def: 'definition',
  desc: 'description',
  dismed: 'disease',
  dist: 'distance',
  exp: 'expansion',
  gr: 'group',
  ind: 'individual',
  instru: 'instrument',
  lang: 'language',
  mount: 'mountain',
  ord: 'order',
  perc: 'percent',
  techmeth: 'technique',
  temp: 'temperature',
  termeq: 'term',
  veh: 'vehicle',
  volsize: 'size',
};

const SST2: Readonly<Record<string, string>> = { 0: 'negative', 1: 'positive' };

/** Members of the object in clinc150's file; those out of scope are one more class, `oos`. */
const CLINC_PARTS: Readonly<Record<DataPart, readonly string[]>> = {
  train: ['train', 'oos_train'],
  dev: ['val', 'oos_val'],
  test: ['test', 'oos_test'],
};

/**
 * Reads the examples of one file.
 *
 * Files are UTF-8; TREC's may be Latin-1, as they were first published. A format with one example a line ends lines with LF or CRLF.
 *
 * @throws E_ARGUMENT; E_DATA_INVALID with file and line for the first thing that is not of the format, and for a file without examples
 */
export function parseData(format: DataFormat, bytes: Uint8Array, options: ParseDataOptions = {}): Examples {
  dataFormat.check(format, 'The format');
  if (!(bytes instanceof Uint8Array)) {
    throw new EspalierError('E_ARGUMENT', `The data are ${shown(bytes)}.`, 'Give bytes.');
  }
  const { name = 'The data', part = 'train' } = checked<ParseDataOptions>(parseDataOptions, options, 'parseData()');
  const text = decode(format, bytes, name);
  const file: File = { name, text, part };
  const examples = READERS[format](file);
  if (examples.list.length === 0) {
    throw new EspalierError('E_DATA_INVALID', `${name} holds no example.`, HINT[format]);
  }
  return examples;
}

/** What data lie in a text with lines. */
interface File {
  readonly name: string;
  readonly text: string;
  readonly part: DataPart;
}

const READERS: Readonly<Record<DataFormat, (file: File) => Examples>> = {
  trec: (file) => trec(file, (coarse) => coarse),
  'trec-fine': (file) => trec(file, (coarse, fine) => `${coarse} ${TREC_FINE[fine] ?? fine}`),
  banking77: (file) =>
    table('banking77', file, rowsOfCsv(file.text), ['text', 'category'], (row) => ({
      input: row.get('text'),
      output: verbalise(row.get('category')),
    })),
  clinc150: clinc,
  hwu64: (file) =>
    table('hwu64', file, tabbed(file), ['scenario', 'intent', 'text'], (row) => ({
      input: row.get('text'),
      output: verbalise(`${row.get('scenario')}_${row.get('intent')}`),
    })),
  sst2: (file) =>
    table('sst2', file, tabbed(file), ['sentence', 'label'], (row) => {
      const output = SST2[row.get('label')];
      if (output === undefined) throw invalid('sst2', file, row.line, `the label "${row.get('label')}" is not 0 or 1`);
      return { input: row.get('sentence'), output };
    }),
  gsm8k,
  mgsm,
  jsonl,
};

const HINT: Readonly<Record<DataFormat, string>> = {
  trec: 'A line is COARSE:fine, a space and the question.',
  'trec-fine': 'A line is COARSE:fine, a space and the question.',
  banking77: 'Give a CSV file with the columns text and category.',
  clinc150: 'Give the JSON file with train, val, test, oos_train, oos_val and oos_test.',
  hwu64: 'Give a file with tabs between columns, among them scenario, intent and text.',
  sst2: 'Give a file with tabs between columns, among them sentence and label.',
  gsm8k: 'A line is {"question": …, "answer": …}, and the answer ends with #### and a number.',
  mgsm: 'A line is a question, a tab and a number.',
  jsonl: 'A line is {"input": …, "label": …} or {"input": …, "output": …}, all of them the same.',
};

function invalid(format: DataFormat, file: File, line: number | null, what: string, cause?: unknown): EspalierError {
  const place = line === null ? file.name : `${file.name}, line ${line}`;
  return new EspalierError('E_DATA_INVALID', `${place}: ${what}.`, HINT[format], { cause });
}

function decode(format: DataFormat, bytes: Uint8Array, name: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    if (format.startsWith('trec')) return new TextDecoder('latin1').decode(bytes);
    throw new EspalierError('E_DATA_INVALID', `${name} is not UTF-8.`, 'Convert the file.', { cause });
  }
}

function trec(file: File, label: (coarse: string, fine: string) => string): Examples {
  const list = rowsOfLines(file.text).map(({ text, line }) => {
    const [, coarse, fine, question] = /^([A-Z]+):([a-z]+) +(\S.*?)\s*$/.exec(text) ?? [];
    const word = TREC_COARSE[coarse ?? ''];
    if (word === undefined) throw invalid('trec', file, line, `"${shortened(text)}" names no class`);
    return { input: question!, output: label(word, fine!) };
  });
  return { kind: 'labels', list };
}

const tabbed = (file: File): Row[] =>
  rowsOfLines(file.text).map(({ text, line }) => ({ cells: text.split('\t'), line }));

/** Rows under a head that names the columns. */
function table(
  format: DataFormat,
  file: File,
  rows: readonly Row[],
  columns: readonly string[],
  example: (row: { readonly line: number; get(column: string): string }) => Example,
): Examples {
  const [head, ...body] = rows;
  if (head === undefined) throw invalid(format, file, null, 'the file is empty');
  const missing = columns.find((column) => !head.cells.includes(column));
  if (missing !== undefined) throw invalid(format, file, head.line, `there is no column ${missing}`);
  const list = body.map(({ cells, line, open }) => {
    if (open) throw invalid(format, file, line, 'a quotation mark is not closed, or stands inside a cell');
    if (cells.length !== head.cells.length) {
      throw invalid(format, file, line, `there are ${cells.length} cells under ${head.cells.length} columns`);
    }
    const get = (column: string): string => {
      const cell = cells[head.cells.indexOf(column)]!.trim();
      if (cell === '') throw invalid(format, file, line, `${column} is empty`);
      return cell;
    };
    return example({ line, get });
  });
  return { kind: 'labels', list };
}

function clinc(file: File): Examples {
  let json: unknown;
  try {
    json = JSON.parse(file.text);
  } catch (cause) {
    throw invalid('clinc150', file, null, 'the file is not JSON', cause);
  }
  const list = CLINC_PARTS[file.part].flatMap((member) => {
    const pairs = (json as Record<string, unknown> | null)?.[member];
    if (!Array.isArray(pairs)) throw invalid('clinc150', file, null, `there is no list ${member}`);
    return pairs.map((pair: unknown, i) => {
      const [input, label] = Array.isArray(pair) && pair.length === 2 ? pair : [];
      if (!isFilled(input) || !isFilled(label)) {
        throw invalid('clinc150', file, null, `${member}[${i}] is no pair of a text and a label`);
      }
      return { input: input.trim(), output: verbalise(label) };
    });
  });
  return { kind: 'labels', list };
}

/** Lines of JSON, and of what is no object one without members. */
function objects(format: DataFormat, file: File) {
  return rowsOfLines(file.text).map(({ text, line }) => {
    try {
      return { line, json: (JSON.parse(text) ?? {}) as Readonly<Record<string, unknown>> };
    } catch (cause) {
      throw invalid(format, file, line, 'this is not JSON', cause);
    }
  });
}

/** What a calculator was told within an answer of GSM8K: notes for training with one, and no text. */
const CALCULATED = /<<[^<>\n]*>>/g;

function gsm8k(file: File): Examples {
  const list = objects('gsm8k', file).map(({ json: { question, answer }, line }) => {
    if (!isFilled(question)) throw invalid('gsm8k', file, line, 'question is no text, or empty');
    if (!isFilled(answer) || !/####\s*\S/.test(answer)) {
      throw invalid('gsm8k', file, line, 'answer is no text that ends with #### and a number');
    }
    return { input: question.trim(), output: answer.replace(CALCULATED, '').trim() };
  });
  return { kind: 'text', list };
}

function mgsm(file: File): Examples {
  const list = tabbed(file).map(({ cells, line }) => {
    const [question = '', number = ''] = cells.map((cell) => cell.trim());
    if (cells.length !== 2) throw invalid('mgsm', file, line, `there are ${cells.length} cells`);
    if (question === '' || !/\d/.test(number)) throw invalid('mgsm', file, line, 'there is no question, or no number');
    return { input: question, output: number };
  });
  return { kind: 'text', list };
}

function jsonl(file: File): Examples {
  let kind: Examples['kind'] | undefined;
  const list = objects('jsonl', file).map(({ json: { input, label, output }, line }) => {
    if (!isFilled(input)) throw invalid('jsonl', file, line, 'input is no text, or empty');
    if ((label === undefined) === (output === undefined)) {
      throw invalid('jsonl', file, line, 'there must be a label or an output, and not both');
    }
    const value = label ?? output;
    if (!isFilled(value))
      throw invalid('jsonl', file, line, `${label === undefined ? 'output' : 'label'} is no text, or empty`);
    const here = label === undefined ? 'text' : 'labels';
    kind ??= here;
    if (here !== kind)
      throw invalid('jsonl', file, line, 'lines before have a label, this one has an output, or the reverse');
    return { input: input.trim(), output: kind === 'labels' ? verbalise(value) : value.trim() };
  });
  return { kind: kind ?? 'labels', list };
}

const isFilled = (value: unknown): value is string => typeof value === 'string' && value.trim() !== '';
const shortened = (text: string): string => (text.length <= 60 ? text : `${text.slice(0, 59)}…`);
