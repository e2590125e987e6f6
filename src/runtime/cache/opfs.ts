import { blobSource, readFailed } from '../files/bytes.ts';
import { createCache, writeFailed } from './cache.ts';
import type { BlobWriter, Cache, CacheFolder, CacheHost } from './types.ts';

/** What TypeScript's DOM library lacks: only dedicated workers have it. Some engines were asynchronous in all of it once. */
interface SyncAccess {
  write(bytes: Uint8Array, at: { at: number }): number;
  truncate(size: number): void | Promise<void>;
  flush(): void | Promise<void>;
  close(): void | Promise<void>;
}
interface FileHandle extends FileSystemFileHandle {
  createSyncAccessHandle?(): Promise<SyncAccess>;
  move?(folder: FileSystemDirectoryHandle, name: string): Promise<void>;
}
type Folder = FileSystemDirectoryHandle & { keys(): AsyncIterableIterator<string> };

const PLACE = "this site's storage";
const COPY = 8 << 20;

/** Whether this browser and page have a file system of their own: secure pages do, private windows may not. */
export async function hasOpfs(): Promise<boolean> {
  try {
    const { prototype } = FileSystemFileHandle;
    const isWritable = 'createSyncAccessHandle' in prototype || 'createWritable' in prototype;
    return isWritable && navigator.locks !== undefined && (await navigator.storage.getDirectory()) !== undefined;
  } catch {
    return false;
  }
}

/**
 * The cache in a browser's origin private file system. In a dedicated worker bytes reach the disk as they come; elsewhere what a
 * tab has written is lost when it is closed before the download ends or is aborted.
 *
 * @param name of the folder at the root
 */
export async function opfsCache(name = 'espalier'): Promise<Cache> {
  return createCache(await opfsHost(name));
}

export async function opfsHost(root: string): Promise<CacheHost> {
  const folder = async (inside: CacheFolder): Promise<Folder> => {
    const top = await (await navigator.storage.getDirectory()).getDirectoryHandle(root, { create: true });
    return (await top.getDirectoryHandle(inside, { create: true })) as Folder;
  };
  const fileOf = async (inside: CacheFolder, name: string): Promise<File | null> => {
    try {
      return await (await (await folder(inside)).getFileHandle(name)).getFile();
    } catch (cause) {
      if (isNamed(cause, 'NotFoundError', 'TypeMismatchError')) return null;
      throw readFailed(name, cause);
    }
  };
  const remove: CacheHost['remove'] = async (inside, name) => {
    try {
      await (await folder(inside)).removeEntry(name);
      return true;
    } catch (cause) {
      // the second: it is being written
      if (isNamed(cause, 'NotFoundError', 'NoModificationAllowedError', 'InvalidStateError')) return false;
      throw writeFailed(PLACE, cause);
    }
  };

  return {
    name: PLACE,
    remove,
    files: async (inside) => {
      const names: string[] = [];
      for await (const name of (await folder(inside)).keys()) names.push(name);
      const found = await Promise.all(
        names.map(async (name) => {
          const file = await fileOf(inside, name).catch(() => null);
          return file ? [{ name, bytes: file.size, modified: file.lastModified }] : [];
        }),
      );
      return found.flat();
    },
    open: async (inside, name) => {
      const file = await fileOf(inside, name);
      return file && blobSource(name, file);
    },
    replace: async (inside, name, bytes) => {
      try {
        const handle: FileHandle = await (await folder(inside)).getFileHandle(name, { create: true });
        const sink = await openSink(handle);
        await sink.reset();
        await sink.write(bytes, 0);
        await sink.close();
      } catch (cause) {
        throw writeFailed(PLACE, cause);
      }
    },
    claim: async (key) => {
      // a lock ends with its tab, however that ends
      const unlock = await tryLock(`espalier ${root}/${key}`);
      if (!unlock) return { writer: null, loaded: (await fileOf('partial', key).catch(() => null))?.size ?? 0 };
      try {
        const [partial, blobs] = [await folder('partial'), await folder('blobs')];
        const handle: FileHandle = await partial.getFileHandle(key, { create: true });
        const writer = opfsWriter({ key, partial, blobs, handle, kept: await handle.getFile(), unlock });
        return { writer, loaded: writer.size };
      } catch (cause) {
        unlock();
        throw writeFailed(PLACE, cause);
      }
    },
  };
}

interface Unfinished {
  readonly key: string;
  readonly partial: Folder;
  readonly blobs: Folder;
  readonly handle: FileHandle;
  /** As it was found. */
  readonly kept: File;
  readonly unlock: () => void;
}

function opfsWriter({ key, partial, blobs, handle, kept, unlock }: Unfinished): BlobWriter {
  let size = kept.size;
  let opened: Promise<Sink> | null = null;
  const sink = (): Promise<Sink> => (opened ??= openSink(handle));
  const guard = async <T>(run: () => Promise<T>): Promise<T> => {
    try {
      return await run();
    } catch (cause) {
      throw writeFailed(PLACE, cause);
    }
  };
  const end = (run: () => Promise<void>): Promise<void> =>
    guard(async () => {
      try {
        if (opened) await (await opened).close();
        await run();
      } finally {
        unlock();
      }
    });
  return {
    get size() {
      return size;
    },
    read: (offset, target) => blobSource(key, kept).readInto(offset, target),
    write: (bytes) =>
      guard(async () => {
        await (await sink()).write(bytes, size);
        size += bytes.byteLength;
      }),
    reset: () =>
      guard(async () => {
        await (await sink()).reset();
        size = 0;
      }),
    commit: async () => {
      await end(async () => {
        await blobs.removeEntry(key).catch(() => {});
        await move(handle, partial, blobs, key);
      });
      return true;
    },
    release: () =>
      end(async () => {
        if (size === 0) await partial.removeEntry(key).catch(() => {});
      }),
    discard: () => end(() => partial.removeEntry(key)),
  };
}

/** Writes into one file. */
interface Sink {
  write(bytes: Uint8Array, at: number): Promise<void>;
  reset(): Promise<void>;
  close(): Promise<void>;
}

async function openSink(handle: FileHandle): Promise<Sink> {
  if (handle.createSyncAccessHandle) {
    const access = await handle.createSyncAccessHandle();
    return {
      write: async (bytes, at) => {
        for (let done = 0; done < bytes.byteLength; ) {
          const written = access.write(bytes.subarray(done), { at: at + done });
          if (!(written > 0)) throw new DOMException('Nothing more can be written.', 'QuotaExceededError');
          done += written;
        }
      },
      reset: async () => access.truncate(0),
      close: async () => {
        try {
          await access.flush();
        } finally {
          await access.close();
        }
      },
    };
  }
  const stream = await handle.createWritable({ keepExistingData: true });
  return {
    write: (bytes, position) => stream.write({ type: 'write', position, data: bytes as Uint8Array<ArrayBuffer> }),
    reset: () => stream.truncate(0),
    close: () => stream.close(),
  };
}

/** Not every engine can move a file; then it is copied. */
async function move(handle: FileHandle, from: Folder, to: Folder, name: string): Promise<void> {
  if (handle.move) return handle.move(to, name);
  const file = await handle.getFile();
  const sink = await openSink(await to.getFileHandle(name, { create: true }));
  try {
    for (let at = 0; at < file.size; at += COPY) {
      await sink.write(new Uint8Array(await file.slice(at, at + COPY).arrayBuffer()), at);
    }
  } finally {
    await sink.close();
  }
  await from.removeEntry(name);
}

/** The lock's release, or null when somebody has it. */
function tryLock(name: string): Promise<(() => void) | null> {
  return new Promise((resolve, reject) => {
    const held = navigator.locks.request(name, { ifAvailable: true }, (lock) => {
      if (lock === null) return resolve(null);
      return new Promise<void>((release) => resolve(release));
    });
    held.catch(reject);
  });
}

function isNamed(cause: unknown, ...names: string[]): boolean {
  return names.includes((cause as { name?: string }).name ?? '');
}
