import { rename, rm } from 'node:fs/promises';
import { openRegular } from '../../runtime/files/regular-file.ts';
import { outputFailed } from '../../runtime/output/output.ts';

type FileHandle = Awaited<ReturnType<typeof openRegular>>;

/** A file that gets its name when it is whole; what stood there is replaced then, and never before. */
export class LogFile {
  readonly #path: string;
  readonly #file: FileHandle;
  #closed = false;

  private constructor(path: string, file: FileHandle) {
    this.#path = path;
    this.#file = file;
  }

  /** Where it cannot be written is known before anything is computed. @throws E_FILE_WRITE, E_STORAGE_FULL */
  static async open(path: string): Promise<LogFile> {
    try {
      return new LogFile(path, await openRegular(temporary(path), { flags: 'w' }));
    } catch (cause) {
      throw outputFailed(path, cause);
    }
  }

  /** @throws E_FILE_WRITE, E_STORAGE_FULL */
  async write(text: string): Promise<void> {
    try {
      await this.#file.writeFile(text);
      await this.#file.sync();
      await this.#file.close();
      this.#closed = true;
      await rename(temporary(this.#path), this.#path);
    } catch (cause) {
      throw outputFailed(this.#path, cause);
    }
  }

  /** Leaves nothing where it was not written. */
  async close(): Promise<void> {
    if (this.#closed) return;
    await this.#file.close().catch(() => {});
    await rm(temporary(this.#path), { force: true });
  }
}

const temporary = (path: string): string => `${path}.espalier-tmp`;
