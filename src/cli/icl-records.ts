import type { FileHandle } from 'node:fs/promises';
import { EspalierError } from '../errors.ts';
import type { EvaluationRecord } from '../evaluate/types.ts';
import { openFile } from '../runtime/node.ts';
import { outputFailed } from '../runtime/output.ts';
import { openRegular } from '../runtime/regular-file.ts';

/** What results belong to: other options give other results. */
export type Identity = Readonly<Record<string, unknown>>;

/**
 * A file of results, lines of JSON: the first says what was evaluated (`{"evaluation": …}`), each other one is a record. Lines are only
 * appended, so whatever ends a run leaves all but its last line.
 */
export class RecordFile {
  readonly #path: string;
  readonly #file: FileHandle;
  /** What was there, and what was joined. */
  readonly done: EvaluationRecord[];
  readonly #known: Set<string>;

  private constructor(path: string, file: FileHandle, done: EvaluationRecord[]) {
    this.#path = path;
    this.#file = file;
    this.done = done;
    this.#known = new Set(done.map(keyOf));
  }

  /**
   * Opens the file to go on with it, or makes it. A last line that was cut is taken away.
   * @throws E_ARGUMENT where it holds results of another evaluation, or something else; E_FILE_WRITE, E_STORAGE_FULL
   */
  static async open(path: string, identity: Identity): Promise<RecordFile> {
    // read and append, whether it is there or not
    const file = await openRegular(path, { flags: 'a+', follow: true }).catch((cause) => {
      throw outputFailed(path, cause);
    });
    try {
      const text = (await file.readFile()).toString('utf8');
      const { whole, done } = readRecords(path, text, identity);
      await file.truncate(Buffer.byteLength(whole));
      const opened = new RecordFile(path, file, done);
      if (whole === '') await opened.#write(`${JSON.stringify({ evaluation: identity })}\n`);
      return opened;
    } catch (error) {
      await file.close();
      throw error instanceof EspalierError ? error : outputFailed(path, error);
    }
  }

  /**
   * Takes over what another run of the same evaluation found out, and writes it down; what is known already stays.
   * @throws E_ARGUMENT where the file holds results of another evaluation, or something else; E_FILE_…
   */
  async join(path: string, identity: Identity): Promise<void> {
    for (const record of await recordsIn(path, identity)) {
      if (this.#known.has(keyOf(record))) continue;
      await this.add(record);
      this.done.push(record);
    }
  }

  /** @throws E_FILE_WRITE, E_STORAGE_FULL */
  async add(record: EvaluationRecord): Promise<void> {
    await this.#write(`${JSON.stringify(record)}\n`);
    this.#known.add(keyOf(record));
  }

  async #write(line: string): Promise<void> {
    await this.#file.appendFile(line).catch((cause) => {
      throw outputFailed(this.#path, cause);
    });
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}

/** One record of an arm, a seed and an item is enough. */
function keyOf(record: EvaluationRecord): string {
  return JSON.stringify([record.arm, record.seed, 'skipped' in record ? null : record.item]);
}

/** @throws E_ARGUMENT, E_FILE_NOT_FOUND, E_FILE_READ */
async function recordsIn(path: string, identity: Identity): Promise<readonly EvaluationRecord[]> {
  const source = await openFile(path);
  try {
    const bytes = new Uint8Array(source.size);
    await source.readInto(0, bytes);
    const { whole, done } = readRecords(path, new TextDecoder().decode(bytes), identity);
    if (whole === '') throw notOurs(path);
    return done;
  } finally {
    await source.close();
  }
}

/** All but a last line that was cut. Nothing at all is no evaluation yet. @throws E_ARGUMENT */
function readRecords(path: string, text: string, identity: Identity): { whole: string; done: EvaluationRecord[] } {
  const whole = text.slice(0, text.lastIndexOf('\n') + 1);
  const [head, ...lines] = whole.split('\n').slice(0, -1);
  if (head === undefined) {
    if (text !== '' && !text.startsWith('{"evaluation":')) throw notOurs(path);
    return { whole, done: [] };
  }
  const { evaluation } = parse(path, head) as { evaluation?: unknown };
  if (evaluation === undefined) throw notOurs(path);
  // as JSON writes it, so that what JSON does not hold makes no difference
  if (JSON.stringify(evaluation) !== JSON.stringify(identity)) {
    const changed = difference(evaluation as Identity, identity);
    throw new EspalierError(
      'E_ARGUMENT',
      `${path} holds results of another evaluation: ${changed} differs.`,
      'Give the same options, or another file.',
    );
  }
  return { whole, done: lines.map((line) => parse(path, line) as EvaluationRecord) };
}

function parse(path: string, line: string): object {
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value === 'object' && value !== null) return value;
  } catch {
    // as below
  }
  throw notOurs(path);
}

function notOurs(path: string): EspalierError {
  return new EspalierError('E_ARGUMENT', `${path} is no file of results.`, 'Give another file; nothing was written.');
}

/** The first member that is not the same. */
function difference(a: Identity, b: Identity): string {
  const names = new Set([...Object.keys(a), ...Object.keys(b)]);
  return [...names].find((name) => JSON.stringify(a[name]) !== JSON.stringify(b[name])) ?? 'their order';
}
