import { EspalierError } from '../../errors.ts';
import { checked, filled } from '../../options/check.ts';
import { uniform } from '../../random.ts';
import { ByteDigest } from '../../runtime/files/byte-digest.ts';
import { sha256 } from '../../runtime/files/hash.ts';
import type { ByteSource } from '../../runtime/files/source.ts';
import { type DataSource, dataSource, openSource, UNNAMED } from '../source.ts';
import { askedKey, ExampleMaker, type RowExample } from './examples.ts';
import { hashBytes, hashText, type IndexEntry, IndexTable } from './index-table.ts';
import { type TrainingDataOptions, trainingDataOptions } from './options.ts';
import { cutText } from './pieces.ts';
import { scanRecords, textOfRecord } from './records.ts';
import { type RowReader, rowReader } from './rows.ts';
import {
  HAS_COLUMNS,
  type PlacedExample,
  TRAINING_FORMATS,
  type TrainingExample,
  type TrainingFormat,
} from './types.ts';

export type { DataSource } from '../source.ts';

/** Tells draws of what is held out from others with the same seed. */
const STREAM = 96;

const ENDS: Readonly<Record<string, TrainingFormat>> = {
  jsonl: 'jsonl',
  ndjson: 'jsonl',
  tsv: 'tsv',
  tab: 'tsv',
  csv: 'csv',
  txt: 'text',
  text: 'text',
  md: 'text',
};

/** A file that was looked through. */
interface DataFile {
  readonly source: ByteSource;
  readonly format: TrainingFormat;
  readonly rows: RowReader;
}

/**
 * Examples to train on, in files that are read as they are needed: every one was looked at when they were opened, and where it stands is
 * what is kept. Pieces of a text that are white space alone are left out. End it with `close`.
 */
export class TrainingData {
  /** Of all bytes, and of the options that say what they mean. */
  readonly digest: string;
  /** Of all examples, those that are trained on and those that are held out, in the order of the files. */
  readonly train: Uint32Array;
  readonly heldOut: Uint32Array;
  readonly #files: readonly DataFile[];
  readonly #maker: ExampleMaker;
  readonly #table: IndexTable;
  readonly #pieceLength: number;

  /** @internal `openTrainingData` makes them */
  constructor(files: readonly DataFile[], maker: ExampleMaker, table: IndexTable, given: Divided) {
    this.#files = files;
    this.#maker = maker;
    this.#table = table;
    this.#pieceLength = given.pieceLength;
    this.digest = given.digest;
    this.train = given.train;
    this.heldOut = given.heldOut;
  }

  /** Examples in all; a long text is several. */
  get count(): number {
    return this.#table.count;
  }

  /** An upper bound of the bytes of an example's texts: those of the record that it is in, and what templates make of them. */
  lengthOf(index: number): number {
    return this.#maker.mostBytes(this.#table.at(index).length);
  }

  /** `FILE, line N`. */
  placeOf(index: number): string {
    const { file, line } = this.#table.at(index);
    return `${this.#files[file]!.source.name}, line ${line}`;
  }

  /** @throws E_FILE_READ; E_DATA_INVALID where the file is no longer what it was */
  async read(index: number): Promise<PlacedExample> {
    const entry = this.#table.at(index);
    const { source, format, rows } = this.#files[entry.file]!;
    const record = await this.#recordOf(entry);
    const { line } = record;
    const made = makeExample(source.name, format, rows, this.#maker, record);
    if (made === null) throw changed(source.name, line);
    return { example: this.#pieceOf(made, entry, index, format), place: `${source.name}, line ${line}` };
  }

  async #recordOf({ file, offset, length, line, sum }: IndexEntry): Promise<{ bytes: Uint8Array; line: number }> {
    const { source } = this.#files[file]!;
    const bytes = new Uint8Array(length);
    await source.readInto(offset, bytes).catch((cause) => {
      throw cause instanceof EspalierError && cause.code === 'E_CHECKPOINT_TRUNCATED'
        ? changed(source.name, line, cause)
        : cause;
    });
    if (hashBytes(bytes) !== sum) throw changed(source.name, line);
    return { bytes, line };
  }

  /**
   * What stands in a column of an example's row, whatever the column is; undefined where there is none, and of plain text.
   * @throws as `read`
   */
  async column(index: number, name: string): Promise<unknown> {
    const entry = this.#table.at(index);
    const { source, format, rows } = this.#files[entry.file]!;
    if (!HAS_COLUMNS[format]) return undefined;
    const record = await this.#recordOf(entry);
    const row = rows.read(textOfRecord(source.name, record), entry.line);
    if (row === null) throw changed(source.name, entry.line);
    return row(name);
  }

  #pieceOf(made: RowExample, { piece }: IndexEntry, index: number, format: TrainingFormat): TrainingExample {
    if (made.kind !== 'text') return made;
    const { text } = made;
    if (format === 'text') return { kind: 'text', text, first: piece === 0, last: this.#table.endsFile(index) };
    const ends = cutText(text, this.#pieceLength);
    const cut = text.slice(piece === 0 ? 0 : ends[piece - 1], ends[piece]);
    return { kind: 'text', text: cut, first: piece === 0, last: piece === ends.length - 1 };
  }

  async close(): Promise<void> {
    for (const { source } of this.#files) await source.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

interface Divided {
  readonly digest: string;
  readonly train: Uint32Array;
  readonly heldOut: Uint32Array;
  readonly pieceLength: number;
}

/**
 * Opens files of training data and looks through all of them once: what is broken is refused before anything is trained. In memory stays
 * where each example stands and a hash of it, 28 bytes.
 *
 * Of the examples a share may be held out: those with the smallest draw by `seed` and by what they ask (the prompt, the messages before the
 * first answer, the text), so that examples that ask the same, but for case and white space, are on the same side.
 *
 * @throws E_DATA_INVALID with file and line for what is not of the format, and for files without examples; E_FILE_NOT_FOUND, E_FILE_READ;
 *   E_ARGUMENT for wrong options, for a file whose format its name does not say, and where too few examples are left; E_ABORTED
 */
export async function openTrainingData(
  sources: DataSource | readonly DataSource[],
  options: TrainingDataOptions = {},
): Promise<TrainingData> {
  const given = filled(
    trainingDataOptions,
    checked<TrainingDataOptions>(trainingDataOptions, options, 'openTrainingData()'),
  );
  const list = (Array.isArray(sources) ? sources : [sources]).map((one, i) => dataSource.check(one, `sources[${i}]`));
  if (list.length === 0) throw new EspalierError('E_ARGUMENT', 'There is no file of data.', 'Give one or more.');
  const maker = new ExampleMaker(given);
  const table = new IndexTable();
  const files: DataFile[] = [];
  const digest = new ByteDigest();
  try {
    for (const one of list) {
      const source = await openSource(one);
      const format = given.format ?? formatOf(source.name);
      files.push({ source, format, rows: rowReader(format, source.name) });
    }
    const total = files.reduce((sum, { source }) => sum + source.size, 0);
    let done = 0;
    for (const file of files) {
      table.nextFile();
      const before = table.count;
      await scanRecords(file.source, {
        format: file.format,
        pieceLength: given.pieceLength,
        signal: given.signal,
        onChunk: async (bytes) => {
          await digest.update(bytes);
          given.onProgress?.((done += bytes.length), total);
        },
        onRecord: (record) => addRecord(table, file, maker, given, before, record),
      });
      if (table.count === before) throw empty(file);
    }
    const parts = divided(table, given.heldOut, given.seed);
    const { columns, prompt, answer, chat, language, sourceLanguage, pieceLength, heldOut, seed } = given;
    const meaning = { columns, prompt, answer, chat, language, sourceLanguage, pieceLength, heldOut, seed };
    const cut = files.map(({ source, format }) => [source.size, format]);
    const all = await sha256(JSON.stringify([await digest.hex(), cut, meaning]));
    return new TrainingData(files, maker, table, { ...parts, digest: all, pieceLength });
  } catch (error) {
    for (const { source } of files) await source.close();
    throw error;
  }
}

function addRecord(
  table: IndexTable,
  file: DataFile,
  maker: ExampleMaker,
  { pieceLength, heldOut }: { readonly pieceLength: number; readonly heldOut: number },
  first: number,
  record: { readonly bytes: Uint8Array; readonly offset: number; readonly line: number },
): void {
  const made = makeExample(file.source.name, file.format, file.rows, maker, record);
  if (made === null) return;
  const { offset, line } = record;
  const { length } = record.bytes;
  const sum = hashBytes(record.bytes);
  // a third of the time
  const key = heldOut > 0 ? hashText(askedKey(made)) : 0;
  if (made.kind !== 'text') table.add({ offset, length, line, piece: 0, key, sum });
  else if (file.format === 'text') table.add({ offset, length, line, piece: table.count - first, key, sum });
  else for (const piece of cutText(made.text, pieceLength).keys()) table.add({ offset, length, line, piece, key, sum });
}

function makeExample(
  name: string,
  format: TrainingFormat,
  rows: RowReader,
  maker: ExampleMaker,
  record: { readonly bytes: Uint8Array; readonly line: number },
): RowExample | null {
  const row = rows.read(textOfRecord(name, record), record.line);
  if (row === null) return null;
  return HAS_COLUMNS[format]
    ? maker.make(row, { name, line: record.line })
    : { kind: 'text', text: row('text') as string };
}

/** @throws E_ARGUMENT where nothing would be left on a side */
function divided(table: IndexTable, share: number, seed: number): { train: Uint32Array; heldOut: Uint32Array } {
  const { count } = table;
  const all = Uint32Array.from({ length: count }, (_, i) => i);
  if (share === 0) return { train: all, heldOut: new Uint32Array(0) };
  if (share * count < 0.5) {
    throw new EspalierError(
      'E_ARGUMENT',
      `A share of ${share} of ${count} ${count === 1 ? 'example' : 'examples'} is none that could be held out.`,
      'Hold out a larger share, or files of their own.',
    );
  }
  const draws = Float64Array.from({ length: count }, (_, i) => uniform(seed, table.key(i), STREAM));
  const wanted = Math.round(share * count);
  const most = draws.slice().sort()[wanted - 1]!;
  const parts = { train: all.filter((i) => draws[i]! > most), heldOut: all.filter((i) => draws[i]! <= most) };
  if (parts.train.length > 0) return parts;
  throw new EspalierError(
    'E_ARGUMENT',
    `Of ${count} examples ${parts.heldOut.length} would be held out, and none trained on.`,
    'Hold out fewer, or give more that ask something else.',
  );
}

/** @throws E_ARGUMENT */
function formatOf(name: string): TrainingFormat {
  const format = ENDS[/\.([a-z]+)$/i.exec(name)?.[1]?.toLowerCase() ?? ''];
  if (format !== undefined) return format;
  throw new EspalierError(
    'E_ARGUMENT',
    name === UNNAMED ? 'Nothing says of which format the data are.' : `The name of ${name} does not say its format.`,
    `Give \`format\`: one of ${TRAINING_FORMATS.join(', ')}.`,
  );
}

function empty({ source }: DataFile): EspalierError {
  return new EspalierError('E_DATA_INVALID', `${source.name} holds no example.`, 'Give a file that holds some.');
}

function changed(name: string, line: number, cause?: unknown): EspalierError {
  return new EspalierError(
    'E_DATA_INVALID',
    `${name}, line ${line}: this is not what stood there when the file was looked through.`,
    'Leave files as they are while they are in use, and start again.',
    { cause },
  );
}
