import { EspalierError } from '../errors.ts';
import { shown } from '../options/shown.ts';
import { rowsOfLines } from './rows.ts';
import { type DataSource, openSource } from './source.ts';

/** Most bytes of a file that is read as a whole. */
const MOST = 1 << 28;

/** One row of a file of JSON. */
export class JsonRow {
  /** `FILE, line N`, or `FILE, row N`. */
  readonly place: string;
  readonly #value: unknown;

  constructor(value: unknown, place: string) {
    this.#value = value;
    this.place = place;
  }

  /** What stands in a column; undefined where nothing or null does. @throws E_DATA_INVALID for a row that is no object */
  column(name: string): unknown {
    const value = this.#value;
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw this.invalid(`this is ${shown(value)}`, 'A row is an object, such as {"question": …, "answer": …}.');
    }
    return Object.hasOwn(value, name) ? ((value as Readonly<Record<string, unknown>>)[name] ?? undefined) : undefined;
  }

  /** The text of a column, which may be empty. @throws E_DATA_INVALID */
  text(name: string): string {
    const value = this.optionalText(name);
    if (value !== undefined) return value;
    throw this.invalid(`there is no ${name}`, 'Every row has it.');
  }

  /** @throws E_DATA_INVALID for what is no text */
  optionalText(name: string): string | undefined {
    const value = this.column(name);
    if (value === undefined || typeof value === 'string') return value;
    throw this.invalid(`${name} is ${shown(value)}`, 'It is a text.');
  }

  /** Texts of a column: a list, or one text; undefined where there is none. @throws E_DATA_INVALID for another list, and an empty one */
  texts(name: string): readonly string[] | undefined {
    const value = this.column(name);
    if (value === undefined) return undefined;
    const list: readonly unknown[] = Array.isArray(value) ? value : [value];
    const wrong = list.find((one) => typeof one !== 'string');
    if (list.length > 0 && wrong === undefined) return list as readonly string[];
    const what = Array.isArray(value) && list.length > 0 ? `${name} has ${shown(wrong)}` : `${name} is ${shown(value)}`;
    throw this.invalid(what, 'It is a text, or a list of texts.');
  }

  /** The row, where it is a text by itself. @throws E_DATA_INVALID */
  ownText(): string {
    if (typeof this.#value === 'string') return this.#value;
    throw this.invalid(`this is ${shown(this.#value)}`, 'A row is a text.');
  }

  /** Whether it is an object. */
  get hasColumns(): boolean {
    return typeof this.#value === 'object' && this.#value !== null && !Array.isArray(this.#value);
  }

  invalid(what: string, hint: string, cause?: unknown): EspalierError {
    return new EspalierError('E_DATA_INVALID', `${this.place}: ${what}.`, hint, { cause });
  }
}

/**
 * Rows of a file: a value of JSON a line, whatever the name of the file ends in, or one list of all. Lines end with LF or CRLF; blank ones are none.
 * @throws E_FILE_NOT_FOUND, E_FILE_READ; E_DATA_INVALID with file and line for what is no JSON, and for a file without rows; E_ARGUMENT
 */
export async function readJsonRows(source: DataSource): Promise<JsonRow[]> {
  const { name, text } = await readText(source);
  const rows = /^\s*\[/.test(text) ? rowsOfList(name, text) : rowsOfText(name, text);
  if (rows.length > 0) return rows;
  throw new EspalierError(
    'E_DATA_INVALID',
    `${name} holds no row.`,
    'Give an object of JSON a line, or a list of such.',
  );
}

/** A file that holds one value of JSON. @throws as `readJsonRows` */
export async function readJsonFile(source: DataSource): Promise<{ readonly name: string; readonly value: unknown }> {
  const { name, text } = await readText(source);
  return { name, value: parsed(text, name, 'Is it complete?') };
}

async function readText(source: DataSource): Promise<{ readonly name: string; readonly text: string }> {
  const file = await openSource(source);
  const { name, size } = file;
  try {
    if (size > MOST) throw new EspalierError('E_DATA_INVALID', `${name} has ${size} bytes.`, `Give at most ${MOST}.`);
    const bytes = new Uint8Array(size);
    await file.readInto(0, bytes);
    return { name, text: new TextDecoder('utf-8', { fatal: true }).decode(bytes) };
  } catch (cause) {
    if (cause instanceof EspalierError) throw cause;
    throw new EspalierError('E_DATA_INVALID', `${name} is not UTF-8.`, 'Convert the file.', { cause });
  } finally {
    await file.close();
  }
}

function rowsOfList(name: string, text: string): JsonRow[] {
  const list = parsed(text, name, 'A file that begins with [ is one list.') as readonly unknown[];
  return list.map((value, i) => new JsonRow(value, `${name}, row ${i + 1}`));
}

function rowsOfText(name: string, text: string): JsonRow[] {
  return rowsOfLines(text).map(({ text: line, line: number }) => {
    const place = `${name}, line ${number}`;
    return new JsonRow(parsed(line, place, 'A line is one value of JSON, or the file one list of all.'), place);
  });
}

function parsed(text: string, place: string, hint: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new EspalierError('E_DATA_INVALID', `${place}: this is not JSON.`, hint, { cause });
  }
}
