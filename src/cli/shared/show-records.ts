import type { FileHandle } from 'node:fs/promises';
import { EspalierError } from '../../errors.ts';
import { isRecord } from '../../evaluate/record-check.ts';
import type { EvaluationRecord } from '../../evaluate/types.ts';
import { openFile } from '../../runtime/files/paths.ts';
import { openRegular } from '../../runtime/files/regular-file.ts';
import { type Lock, lock } from '../../runtime/output/lock.ts';
import { outputFailed } from '../../runtime/output/output.ts';

/** How a file of results begins. */
const START = '{"evaluation":';

/** What results belong to: other options give other results. */
export type Identity = Readonly<Record<string, unknown>>;

/**
 * A file of results, lines of JSON: the first says what was evaluated (`{"evaluation": …}`), each other one is a record. Lines are only
 * appended, so whatever ends a run leaves all but its last line.
 */
export class RecordFile {
  readonly #path: string;
  readonly #file: FileHandle;
  readonly #lock: Lock;
  /** What was there, and what was joined. */
  readonly done: EvaluationRecord[];
  readonly #known: Set<string>;

  private constructor(path: string, file: FileHandle, held: Lock, done: EvaluationRecord[]) {
    this.#path = path;
    this.#file = file;
    this.#lock = held;
    this.done = done;
    this.#known = new Set(done.map(keyOf));
  }

  /**
   * Opens the file to go on with it, or makes it. A last line that was cut is taken away.
   * @throws E_ARGUMENT where it holds results of another evaluation, or something else, or somebody else is writing it; E_FILE_WRITE,
   *   E_STORAGE_FULL
   */
  static async open(path: string, identity: Identity): Promise<RecordFile> {
    let held: Lock | undefined;
    let file: FileHandle | undefined;
    try {
      held = await lock(`${path}.lock`, path);
      // read and append, whether it is there or not
      file = await openRegular(path, { flags: 'a+', follow: true });
      const { length, done } = readRecords(path, await file.readFile(), identity);
      await file.truncate(length);
      const opened = new RecordFile(path, file, held, done);
      if (length === 0) await opened.#write(`${JSON.stringify({ evaluation: identity })}\n`);
      return opened;
    } catch (error) {
      await file?.close();
      await held?.release().catch(() => {});
      throw outputFailed(path, error);
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

  async close(): Promise<void> {
    await this.#file.close();
    await this.#lock.release();
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
    const { length, done } = readRecords(path, bytes, identity);
    if (length === 0) throw notOurs(path);
    return done;
  } finally {
    await source.close();
  }
}

/**
 * All but a last line that was cut. Nothing at all is no evaluation yet.
 * @returns bytes of the lines that are whole, and their records
 * @throws E_ARGUMENT
 */
function readRecords(
  path: string,
  bytes: Uint8Array,
  identity: Identity,
): { length: number; done: EvaluationRecord[] } {
  const length = bytes.lastIndexOf(0x0a) + 1;
  const [head, ...lines] = textOf(path, bytes.subarray(0, length)).split('\n').slice(0, -1);
  if (head === undefined) {
    const begins = textOf(path, bytes.subarray(0, START.length));
    if (!START.startsWith(begins)) throw notOurs(path);
    return { length, done: [] };
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
  const done = new Map<string, EvaluationRecord>();
  for (const line of lines) {
    const record = parse(path, line);
    if (!isRecord(record)) throw notOurs(path);
    // of what stands there twice the first counts
    const key = keyOf(record);
    if (!done.has(key)) done.set(key, record);
  }
  return { length, done: [...done.values()] };
}

/** @throws E_ARGUMENT for bytes that are no text */
function textOf(path: string, bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw notOurs(path);
  }
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
