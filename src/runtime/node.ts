import { EspalierError } from '../errors.ts';
import { checkRange, notFound, readFailed, truncated } from './bytes.ts';
import type { ByteSource, ModelFiles } from './source.ts';

/** One read system call moves at most this many bytes; Linux stops at 2 GiB. */
const MAX_READ = 1 << 30;

/**
 * Opens a folder, a `.gguf` file, or the folder of a `.safetensors` file, in Node, Deno or Bun.
 * @throws E_FILE_NOT_FOUND, E_FILE_READ; E_CHECKPOINT_FORMAT for a file of another kind
 */
export async function openPath(target: string | URL): Promise<ModelFiles> {
  const { readdir, stat } = await import('node:fs/promises');
  const { basename, dirname, join } = await import('node:path');
  const { fileURLToPath } = await import('node:url');
  const path = target instanceof URL ? fileURLToPath(target) : target;

  const asFolder = async (folder: string, preferred: string | undefined): Promise<ModelFiles> => {
    const entries = await readdir(folder, { withFileTypes: true }).catch((cause) => {
      throw readFailed(folder, cause);
    });
    // symbolic links too: the Hugging Face cache consists of them
    const names = entries.filter((entry) => entry.isFile() || entry.isSymbolicLink()).map((entry) => entry.name);
    return { name: folder, names, preferred, open: (name) => openMember(folder, join(folder, name), names, name) };
  };

  const info = await stat(path).catch((cause) => {
    throw cause?.code === 'ENOENT' || cause?.code === 'ENOTDIR'
      ? new EspalierError('E_FILE_NOT_FOUND', `There is no ${path}.`, 'Check the path.', { cause })
      : readFailed(path, cause);
  });
  if (info.isDirectory()) return asFolder(path, undefined);
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

/** One file of the file system. @throws E_FILE_NOT_FOUND, E_FILE_READ */
export async function openFile(path: string): Promise<ByteSource> {
  const { open } = await import('node:fs/promises');
  const file = await open(path, 'r').catch((cause) => {
    throw cause?.code === 'ENOENT' ? notFound(path, 'the file system', cause) : readFailed(path, cause);
  });
  let size: number;
  try {
    const info = await file.stat();
    if (!info.isFile()) throw new Error('not a regular file');
    size = info.size;
  } catch (cause) {
    await file.close();
    throw readFailed(path, cause);
  }
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
    close: async () => {
      if (closed) return;
      closed = true;
      await file.close();
    },
  };
}
