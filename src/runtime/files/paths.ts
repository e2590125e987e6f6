import { EspalierError } from '../../errors.ts';
import { OPTIONAL_FILES, REQUIRED_FILES, TEMPLATE_FOLDER, templateName } from '../hub/remote-files.ts';
import { checkRange, notFound, readFailed, truncated } from './bytes.ts';
import { pathOf } from './path.ts';
import { checkRegular, openRegular } from './regular-file.ts';
import type { ByteSource, FileStamp, ModelFiles } from './source.ts';

/** One read system call moves at most this many bytes; Linux stops at 2 GiB. */
const MAX_READ = 1 << 30;
/** Milliseconds that must have passed since a file's last change, so that another change would have another time. */
const GRAIN = 2000;
/** Files that a model consists of. Where a folder has such a name, that is what is wrong, and not that the file is missing. */
const EXPECTED = new Set([...REQUIRED_FILES, ...OPTIONAL_FILES]);
const WEIGHTS = /^model(-\d+-of-\d+)?\.safetensors(\.index\.json)?$/;

/**
 * Opens a folder, a `.gguf` file, or the folder of a `.safetensors` file, in Node, Deno or Bun.
 * @throws E_FILE_NOT_FOUND, E_FILE_READ; E_CHECKPOINT_FORMAT for a file of another kind
 */
export async function openPath(target: string | URL): Promise<ModelFiles> {
  const { readdir, stat } = await import('node:fs/promises');
  const { basename, dirname, join } = await import('node:path');
  const path = await pathOf(target);

  const asFolder = async (folder: string, preferred: string | undefined): Promise<ModelFiles> => {
    const entries = await readdir(folder, { withFileTypes: true }).catch((cause) => {
      throw readFailed(folder, cause);
    });
    // whatever is no file is found when it is opened; symbolic links may be: the Hugging Face cache consists of them
    const names = entries
      .filter((entry) => !entry.isDirectory() || EXPECTED.has(entry.name) || WEIGHTS.test(entry.name))
      .map((entry) => entry.name);
    if (entries.some((entry) => entry.isDirectory() && entry.name === TEMPLATE_FOLDER)) {
      const inside = await readdir(join(folder, TEMPLATE_FOLDER)).catch((cause) => {
        throw readFailed(join(folder, TEMPLATE_FOLDER), cause);
      });
      names.push(...inside.map((name) => `${TEMPLATE_FOLDER}/${name}`).filter((name) => templateName(name) !== null));
    }
    return { name: folder, names, preferred, open: (name) => openMember(folder, join(folder, name), names, name) };
  };

  const info = await stat(path).catch((cause) => {
    throw cause?.code === 'ENOENT' || cause?.code === 'ENOTDIR'
      ? new EspalierError('E_FILE_NOT_FOUND', `There is no ${path}.`, 'Check the path.', { cause })
      : readFailed(path, cause);
  });
  if (info.isDirectory()) return asFolder(path, undefined);
  checkRegular(path, info);
  const name = basename(path);
  if (/\.safetensors$/i.test(name)) return asFolder(dirname(path), name);
  // whatever its name: the magic decides later whether it is GGUF
  return { name: path, names: [name], open: (wanted) => openMember(dirname(path), path, [name], wanted) };
}

async function openMember(folder: string, path: string, names: readonly string[], name: string): Promise<ByteSource> {
  // only names that were listed: nothing can climb out of the folder
  if (!names.includes(name)) throw notFound(name, folder);
  return openFile(path);
}

/** One regular file of the file system. @throws E_FILE_NOT_FOUND; E_FILE_READ, also for pipes, devices and folders */
export async function openFile(path: string, { follow = true } = {}): Promise<ByteSource> {
  const file = await openRegular(path, { flags: 'r', follow }).catch((cause) => {
    if (cause instanceof EspalierError) throw cause;
    throw cause?.code === 'ENOENT' ? notFound(path, 'the file system', cause) : readFailed(path, cause);
  });
  const { size } = await file.stat().catch(async (cause) => {
    await file.close();
    throw readFailed(path, cause);
  });
  let closed = false;
  return {
    name: path,
    size,
    readInto: async (offset, target) => {
      checkRange(path, size, offset, target.byteLength);
      for (let done = 0; done < target.byteLength; ) {
        const length = Math.min(target.byteLength - done, MAX_READ);
        const { bytesRead } = await file.read(target, done, length, offset + done).catch((cause) => {
          throw readFailed(path, cause);
        });
        // the file has shrunk since it was opened
        if (bytesRead === 0) throw truncated(path, offset + done, offset + target.byteLength);
        done += bytesRead;
      }
    },
    stamp: async (): Promise<FileStamp> => {
      const info = await file.stat({ bigint: true }).catch((cause) => {
        throw readFailed(path, cause);
      });
      const content = `${info.size}:${info.mtimeNs}`;
      const changed = Math.max(Number(info.mtimeMs), Number(info.ctimeMs));
      // some file systems have no numbers of files
      const isSettled = info.ino !== 0n && Date.now() - changed > GRAIN;
      const key = `${info.dev}:${info.ino}:${content}:${info.ctimeNs}`;
      return { key, content, size: Number(info.size), isSettled };
    },
    close: async () => {
      if (closed) return;
      closed = true;
      await file.close();
    },
  };
}
