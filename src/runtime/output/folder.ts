import { EspalierError } from '../../errors.ts';
import { readFailed } from '../files/bytes.ts';
import { pathOf } from '../files/path.ts';
import { openPath } from '../files/paths.ts';
import { checkRegular, kindOf, openRegular } from '../files/regular-file.ts';
import type { ModelFiles } from '../files/source.ts';
import { hasNode } from '../host/types.ts';
import { clearFolder } from './clear.ts';
import { type Lock, lock } from './lock.ts';
import { bootOf, isSameBoot } from './machine-start.ts';
import { checkInside, folderIn, JOURNAL, type OutputFile, type OutputFolder, outputFailed } from './output.ts';
import { syncFile, syncFolder } from './sync.ts';

/** One write system call moves at most this many bytes; Linux stops at 2 GiB. */
const MAX_WRITE = 1 << 30;
/** Small files are written under such a name first. A killed process leaves it behind. */
const TEMPORARY = /^\..*\.espalier-tmp$/;

type Fs = typeof import('node:fs/promises');
type FileHandle = Awaited<ReturnType<Fs['open']>>;

/** By what a file is known again. */
interface State {
  /** Of anything but a regular file -1. */
  readonly ino: bigint;
  readonly size: bigint;
  readonly mtimeNs: bigint;
}

/**
 * A new folder at `target`, in Node, Deno or Bun. It is written as its sibling `TARGET.partial`, or goes on with what an earlier
 * run left of that, and `commit` renames it. Folders above it are made.
 *
 * @throws E_ARGUMENT when something other than an empty folder is there, or somebody else is writing it; E_FILE_WRITE,
 *   E_STORAGE_FULL
 */
export async function folderOutput(target: string | URL): Promise<OutputFolder> {
  if (!hasNode()) {
    throw new EspalierError('E_ARGUMENT', 'This host has no file system to write to.', 'Write into memory.');
  }
  const fs = await import('node:fs/promises');
  const { dirname, resolve } = await import('node:path');
  const wanted = resolve(await pathOf(target));
  let held: Lock | undefined;
  try {
    const path = await vacant(fs, wanted);
    await fs.mkdir(dirname(path), { recursive: true });
    held = await lock(`${path}.partial.lock`, path);
    // who held the lock until now may have finished
    await vacant(fs, path);
    await movable(fs, path);
    await fs.mkdir(`${path}.partial`).catch(async (cause) => {
      if (cause?.code !== 'EEXIST') throw cause;
      const info = await fs.lstat(`${path}.partial`);
      if (info.isDirectory()) return;
      const what = `${path}.partial is ${kindOf(info)}, and no folder.`;
      throw new EspalierError('E_FILE_WRITE', what, 'Remove it, or choose another folder.');
    });
    for (const { name } of await entriesOf(fs, `${path}.partial`)) {
      if (TEMPORARY.test(name.slice(name.indexOf('/') + 1))) await fs.rm(`${path}.partial/${name}`);
    }
    await syncFolder(fs, dirname(path));
    return new Folder(fs, path, await bootOf(), held);
  } catch (cause) {
    await held?.release().catch(() => {});
    throw outputFailed(wanted, cause);
  }
}

/** The path, links in it followed, where nothing or an empty folder is. @throws E_ARGUMENT */
async function vacant(fs: Fs, wanted: string): Promise<string> {
  const occupied = (what: string): EspalierError =>
    new EspalierError('E_ARGUMENT', `${wanted} ${what}.`, 'Name a folder that does not exist yet, or is empty.');
  const info = await fs.lstat(wanted).catch((cause) => {
    if (cause?.code === 'ENOENT') return null;
    throw cause;
  });
  if (!info) return wanted;
  const path = await fs.realpath(wanted).catch(() => {
    throw occupied('is a link that leads nowhere');
  });
  if (!(await fs.stat(path)).isDirectory()) throw occupied('exists and is no folder');
  if ((await fs.readdir(path)).length > 0) throw occupied('exists and is not empty');
  return path;
}

/** Makes sure that an empty folder can be replaced in the end, and not only after hours of work it turns out that it cannot. */
async function movable(fs: Fs, path: string): Promise<void> {
  const aside = `${path}.partial.aside`;
  try {
    await fs.rename(path, aside);
  } catch (cause) {
    const { code } = cause as { code?: unknown };
    if (code === 'ENOENT') return;
    if (code !== 'EBUSY' && code !== 'EXDEV') throw cause;
    const hint = 'Name a folder inside it.';
    throw new EspalierError('E_ARGUMENT', `${path} is where something is mounted.`, hint, { cause });
  }
  await fs.rename(aside, path);
}

/** What lies in a folder and in folders of it, by name; folders that are empty are not told. */
async function entriesOf(fs: Fs, path: string): Promise<{ readonly name: string; readonly isFile: boolean }[]> {
  const list: { name: string; isFile: boolean }[] = [];
  for (const entry of await fs.readdir(path, { withFileTypes: true })) {
    if (!entry.isDirectory()) list.push({ name: entry.name, isFile: entry.isFile() });
    else {
      const inside = await fs.readdir(`${path}/${entry.name}`, { withFileTypes: true });
      list.push(...inside.map((own) => ({ name: `${entry.name}/${own.name}`, isFile: own.isFile() })));
    }
  }
  return list;
}

class Folder implements OutputFolder {
  readonly name: string;
  readonly boot: string;
  readonly #fs: Fs;
  readonly #partial: string;
  readonly #lock: Lock;
  readonly #open = new Map<FileHandle, { readonly name: string; readonly size: () => number }>();
  /** What this process has written or kept, to be looked at before the folder gets its name; null: it was another already. */
  readonly #written = new Map<string, State | null>();
  #ended = false;

  constructor(fs: Fs, path: string, boot: string, held: Lock) {
    this.name = path;
    this.boot = boot;
    this.#fs = fs;
    this.#partial = `${path}.partial`;
    this.#lock = held;
  }

  survived(boot: string): boolean {
    return isSameBoot(boot, this.boot);
  }

  async free(): Promise<number | null> {
    try {
      const { bavail, bsize } = await this.#fs.statfs(this.#partial);
      return bavail * bsize;
    } catch {
      return null; // some hosts and some file systems do not say
    }
  }

  async file(name: string, keep: number): Promise<OutputFile> {
    const path = this.#at(name);
    try {
      await this.#makeFolder(name);
      const handle = await openRegular(path, { flags: keep > 0 ? 'r+' : 'w' });
      let size = () => keep;
      this.#open.set(handle, { name, size: () => size() });
      try {
        if (keep > 0 && (await handle.stat()).size < keep) throw new Error(`it is shorter than ${keep} bytes`);
        if (keep > 0) await handle.truncate(keep);
        const writer = this.#writer(path, handle, keep, folderIn(name));
        size = () => writer.size;
        return writer;
      } catch (cause) {
        await this.#close(handle);
        throw cause;
      }
    } catch (cause) {
      throw outputFailed(path, cause);
    }
  }

  #writer(path: string, handle: FileHandle, keep: number, folder: string | null): OutputFile {
    let size = keep;
    let named = keep > 0; // whether the name, too, outlives a power failure
    const guard = async (run: () => Promise<void>): Promise<void> => {
      try {
        await run();
      } catch (cause) {
        throw outputFailed(path, cause);
      }
    };
    return {
      get size() {
        return size;
      },
      write: (bytes) =>
        guard(async () => {
          for (let done = 0; done < bytes.byteLength; ) {
            const length = Math.min(bytes.byteLength - done, MAX_WRITE);
            const { bytesWritten } = await handle.write(bytes, done, length, size);
            done += bytesWritten;
            size += bytesWritten;
          }
        }),
      sync: () =>
        guard(async () => {
          await handle.sync();
          if (!named) await this.#syncNames(folder);
          named = true;
        }),
      close: () => guard(() => this.#close(handle)),
    };
  }

  async size(name: string): Promise<number | null> {
    const path = this.#at(name);
    const info = await this.#fs.lstat(path).catch((cause) => {
      if (cause?.code === 'ENOENT') return null;
      throw readFailed(path, cause);
    });
    if (info) checkRegular(path, info, true);
    return info?.size ?? null;
  }

  async readBytes(name: string): Promise<Uint8Array | null> {
    const path = this.#at(name);
    try {
      const file = await openRegular(path, { flags: 'r' });
      try {
        return await file.readFile();
      } finally {
        await file.close();
      }
    } catch (cause) {
      if ((cause as { code?: unknown }).code === 'ENOENT') return null;
      throw cause instanceof EspalierError ? cause : readFailed(path, cause);
    }
  }

  async writeBytes(name: string, bytes: Uint8Array): Promise<void> {
    const path = this.#at(name);
    const folder = folderIn(name);
    const temporary = this.#at(
      folder === null ? `.${name}.espalier-tmp` : `${folder}/.${name.slice(folder.length + 1)}.espalier-tmp`,
    );
    try {
      await this.#makeFolder(name);
      await this.#fs.rm(temporary, { force: true });
      await this.#fs.writeFile(temporary, bytes, { flag: 'wx' });
      const { ino } = await this.#fs.lstat(temporary, { bigint: true });
      await this.#fs.rename(temporary, path);
      this.#written.set(name, await this.#stateOf(name, ino, bytes.byteLength));
    } catch (cause) {
      await this.#fs.rm(temporary, { force: true }).catch(() => {});
      throw outputFailed(path, cause);
    }
  }

  async remove(name: string): Promise<void> {
    const path = this.#at(name);
    this.#written.delete(name);
    await this.#fs.rm(path, { force: true }).catch((cause) => {
      throw outputFailed(path, cause);
    });
  }

  async clear(keeps: (name: string) => boolean): Promise<void> {
    this.#checkOpen();
    try {
      for (const name of await clearFolder(this.#fs, this.#partial, keeps)) this.#written.delete(name);
    } catch (cause) {
      throw outputFailed(this.#partial, cause);
    }
  }

  async files(): Promise<ModelFiles> {
    this.#checkOpen();
    const files = await openPath(this.#partial);
    return { ...files, names: files.names.filter((name) => name !== JOURNAL) };
  }

  async commit(): Promise<void> {
    this.#checkOpen();
    const fs = this.#fs;
    try {
      await this.#closeAll();
      const { dirname } = await import('node:path');
      const entries = await entriesOf(fs, this.#partial);
      for (const { name, isFile } of entries) if (isFile) await syncFile(fs, `${this.#partial}/${name}`);
      for (const folder of new Set(entries.map(({ name }) => folderIn(name)))) await this.#syncNames(folder);
      await this.check();
      // Windows replaces no folder; and if somebody has put something there, the journal must still be here
      await fs.rmdir(this.name).catch((cause) => {
        if (cause?.code !== 'ENOENT') throw cause;
      });
      await fs.rm(`${this.#partial}/${JOURNAL}`, { force: true });
      await syncFolder(fs, this.#partial);
      await fs.rename(this.#partial, this.name);
      await syncFolder(fs, dirname(this.name));
    } catch (cause) {
      throw outputFailed(this.name, cause);
    }
    await this.#end();
  }

  async discard(): Promise<void> {
    if (this.#ended) return;
    try {
      await this.#closeAll();
      await this.#fs.rm(this.#partial, { recursive: true, force: true });
    } catch (cause) {
      throw outputFailed(this.#partial, cause);
    } finally {
      await this.#end();
    }
  }

  async release(): Promise<void> {
    if (this.#ended) return;
    try {
      await this.#closeAll();
      // nothing to go on with: it need not be there
      await this.#fs.rmdir(this.#partial).catch(() => {});
    } finally {
      await this.#end();
    }
  }

  async check(): Promise<void> {
    this.#checkOpen();
    for (const [name, state] of this.#written) {
      if (name === JOURNAL) continue;
      const path = `${this.#partial}/${name}`;
      const info = await this.#look(path);
      if (info && state && info.ino === state.ino && info.size === state.size && info.mtimeNs === state.mtimeNs)
        continue;
      throw new EspalierError(
        'E_FILE_WRITE',
        `${path} was ${info ? 'changed' : 'removed'} by somebody else while it was written.`,
        'Start again: what is whole is kept.',
      );
    }
  }

  /** What there is to be found again, if the file of that name is the one that was written. */
  async #stateOf(name: string, ino: bigint, size: number): Promise<State | null> {
    const info = await this.#look(`${this.#partial}/${name}`);
    return info?.ino === ino && info.size === BigInt(size) ? info : null;
  }

  async #look(path: string): Promise<State | null> {
    const info = await this.#fs.lstat(path, { bigint: true }).catch((cause) => {
      if (cause?.code === 'ENOENT') return null;
      throw cause;
    });
    return info && { ino: info.isFile() ? info.ino : -1n, size: info.size, mtimeNs: info.mtimeNs };
  }

  #at(name: string): string {
    this.#checkOpen();
    checkInside(name);
    return `${this.#partial}/${name}`;
  }

  /** That of a file, where it is not the very one. A link is none: nothing is written elsewhere. */
  async #makeFolder(name: string): Promise<void> {
    const folder = folderIn(name);
    if (folder === null) return;
    const path = `${this.#partial}/${folder}`;
    await this.#fs.mkdir(path).catch(async (cause) => {
      if (cause?.code !== 'EEXIST' || !(await this.#fs.lstat(path)).isDirectory()) throw cause;
    });
  }

  /** So that names in it outlive a power failure. */
  async #syncNames(folder: string | null): Promise<void> {
    if (folder !== null) await syncFolder(this.#fs, `${this.#partial}/${folder}`);
    await syncFolder(this.#fs, this.#partial);
  }

  #checkOpen(): void {
    if (!this.#ended) return;
    throw new EspalierError('E_DISPOSED', `${this.name} is no longer being written.`, 'Open it again to go on.');
  }

  async #close(handle: FileHandle): Promise<void> {
    const own = this.#open.get(handle);
    if (!own) return;
    this.#open.delete(handle);
    const info = await handle.stat({ bigint: true }).catch(() => null);
    await handle.close();
    // times are final when a file is closed, on file systems of other machines too
    this.#written.set(own.name, info && (await this.#stateOf(own.name, info.ino, own.size())));
  }

  async #closeAll(): Promise<void> {
    for (const handle of [...this.#open.keys()]) await this.#close(handle);
  }

  async #end(): Promise<void> {
    this.#ended = true;
    await this.#lock.release().catch(() => {}); // a dead lock is taken over by whoever comes next
  }
}
