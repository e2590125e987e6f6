import type { FileHandle } from 'node:fs/promises';
import { EspalierError } from '../errors.ts';
import type { EvaluationRecord } from '../evaluate/types.ts';
import { outputFailed } from '../runtime/output.ts';

/** What results belong to: other options give other results. */
export type Identity = Readonly<Record<string, unknown>>;

/**
 * A file of results, lines of JSON: the first says what was evaluated (`{"evaluation": …}`), each other one is a record. Lines are only
 * appended, so whatever ends a run leaves all but its last line.
 */
export class RecordFile {
  readonly #path: string;
  readonly #file: FileHandle;
  /** What was there. */
  readonly done: readonly EvaluationRecord[];

  private constructor(path: string, file: FileHandle, done: readonly EvaluationRecord[]) {
    this.#path = path;
    this.#file = file;
    this.done = done;
  }

  /**
   * Opens the file to go on with it, or makes it. A last line that was cut is taken away.
   * @throws E_ARGUMENT where it holds results of another evaluation, or something else; E_FILE_WRITE, E_STORAGE_FULL
   */
  static async open(path: string, identity: Identity): Promise<RecordFile> {
    const { open } = await import('node:fs/promises');
    // read and append, whether it is there or not
    const file = await open(path, 'a+').catch((cause) => {
      throw outputFailed(path, cause);
    });
    try {
      const text = (await file.readFile()).toString('utf8');
      const whole = text.slice(0, text.lastIndexOf('\n') + 1);
      const [head, ...lines] = whole.split('\n').slice(0, -1);
      if (head === undefined) {
        if (text !== '' && !text.startsWith('{"evaluation":')) throw notOurs(path);
        await file.truncate(0);
        const made = new RecordFile(path, file, []);
        await made.#write(`${JSON.stringify({ evaluation: identity })}\n`);
        return made;
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
      await file.truncate(Buffer.byteLength(whole));
      return new RecordFile(
        path,
        file,
        lines.map((line) => parse(path, line) as EvaluationRecord),
      );
    } catch (error) {
      await file.close();
      throw error instanceof EspalierError ? error : outputFailed(path, error);
    }
  }

  /** @throws E_FILE_WRITE, E_STORAGE_FULL */
  async add(record: EvaluationRecord): Promise<void> {
    await this.#write(`${JSON.stringify(record)}\n`);
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
