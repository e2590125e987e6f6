import { EspalierError } from '../../errors.ts';
import { rowsOfCsv } from '../rows.ts';
import { invalid } from './records.ts';
import { TRAINING_COLUMNS, type TrainingColumn, type TrainingFormat } from './types.ts';

/** What one row says: texts by column, and of JSON whatever stands there. Undefined: there is no such column. */
export type Row = (column: string) => unknown;

/** Reads the records of one file, in their order the first time. */
export interface RowReader {
  /** Null for a record that holds no row: a blank line, or the head that names the columns. @throws E_DATA_INVALID */
  read(text: string, line: number): Row | null;
}

export function rowReader(format: TrainingFormat, name: string): RowReader {
  switch (format) {
    case 'jsonl':
      return { read: (text, line) => (text.trim() === '' ? null : jsonRow(name, text, line)) };
    case 'tsv':
      return new TableReader(name, (text) => text.replace(/\r?\n$/, '').split('\t'));
    case 'csv':
      return new TableReader(name, (text, line) => {
        const row = rowsOfCsv(text)[0];
        if (row === undefined || row.open) {
          const hint = 'Write quotation marks in a cell twice, and the cell between quotation marks.';
          throw invalid(name, line, 'a quotation mark is not closed, or stands inside a cell', hint);
        }
        return row.cells;
      });
    case 'text':
      return { read: (text) => (text.trim() === '' ? null : () => text.replaceAll('\r\n', '\n')) };
    case 'lines':
    case 'paragraphs':
      return { read: (text) => (text.trim() === '' ? null : () => text.trimEnd().replaceAll('\r\n', '\n')) };
    default:
      return format satisfies never;
  }
}

function jsonRow(name: string, text: string, line: number): Row {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw invalid(
      name,
      line,
      'this is not JSON',
      'A line is one JSON object; a whole file of JSON is not read.',
      cause,
    );
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw invalid(name, line, 'this is no JSON object', 'A line is one object, such as {"prompt": …, "answer": …}.');
  }
  const object = json as Readonly<Record<string, unknown>>;
  return (column) => (Object.hasOwn(object, column) ? (object[column] ?? undefined) : undefined);
}

/** Rows under a head that names the columns. */
class TableReader implements RowReader {
  readonly #name: string;
  readonly #cells: (text: string, line: number) => readonly string[];
  #head: ReadonlyMap<string, number> | null = null;

  constructor(name: string, cells: (text: string, line: number) => readonly string[]) {
    this.#name = name;
    this.#cells = cells;
  }

  read(text: string, line: number): Row | null {
    if (text.trim() === '') return null;
    const cells = this.#cells(text, line);
    const head = this.#head;
    if (head === null) {
      const twice = cells.map((cell) => cell.trim()).find((cell, i, all) => all.indexOf(cell) !== i);
      if (twice !== undefined) {
        const what = `two columns are called ${JSON.stringify(twice.slice(0, 60))}`;
        throw invalid(this.#name, line, what, 'The first line names the columns: give each its own.');
      }
      this.#head = new Map(cells.map((cell, i) => [cell.trim(), i]));
      return null;
    }
    if (cells.length !== head.size) {
      throw invalid(
        this.#name,
        line,
        `there are ${cells.length} cells under ${head.size} columns`,
        `The first line names the columns: ${[...head.keys()].join(', ').slice(0, 200)}.`,
      );
    }
    return (column) => {
      const at = head.get(column);
      return at === undefined ? undefined : cells[at];
    };
  }
}

/** Names of columns by what they hold. @throws E_ARGUMENT where two have one name */
export function columnNames(
  given: Readonly<Partial<Record<TrainingColumn, string>>>,
): Readonly<Record<TrainingColumn, string>> {
  const names = Object.fromEntries(TRAINING_COLUMNS.map((column) => [column, given[column] ?? column]));
  const all = Object.values(given);
  const twice = all.find((name, i) => all.indexOf(name) !== i);
  if (twice === undefined) return names as Record<TrainingColumn, string>;
  throw new EspalierError('E_ARGUMENT', `Two columns are called ${JSON.stringify(twice)}.`, 'Give each its own.');
}
