import { rename, rm, stat } from 'node:fs/promises';
import { checkRegular, openRegular } from '../../runtime/files/regular-file.ts';
import { outputFailed } from '../../runtime/output/output.ts';

type FileHandle = Awaited<ReturnType<typeof openRegular>>;

/** A file that gets its name when it is whole; what stood there is replaced then, and never before. */
export class LogFile {
  readonly #path: string;
  readonly #file: FileHandle;
  #named = false;

  private constructor(path: string, file: FileHandle) {
    this.#path = path;
    this.#file = file;
  }

  /** Where it cannot be written is known before anything is computed. @throws E_FILE_WRITE, E_STORAGE_FULL */
  static async open(path: string): Promise<LogFile> {
    try {
      // a folder could not be replaced, and a device must not be
      const there = await stat(path).catch(() => null);
      if (there !== null) checkRegular(path, there, true);
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
      await rename(temporary(this.#path), this.#path);
      this.#named = true;
    } catch (cause) {
      throw outputFailed(this.#path, cause);
    }
  }

  /** Leaves nothing where it was not written. */
  async close(): Promise<void> {
    if (this.#named) return;
    await this.#file.close().catch(() => {});
    await rm(temporary(this.#path), { force: true });
  }
}

const temporary = (path: string): string => `${path}.espalier-tmp`;
