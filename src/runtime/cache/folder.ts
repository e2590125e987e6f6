import { EspalierError } from '../../errors.ts';
import { readFailed } from '../files/bytes.ts';
import { sha256 } from '../files/hash.ts';
import { pathOf } from '../files/path.ts';
import { openFile } from '../files/paths.ts';
import { openRegular } from '../files/regular-file.ts';
import { createCache, writeFailed } from './cache.ts';
import type { BlobWriter, Cache, CacheFolder, CacheHost } from './types.ts';

/** A writer shows that it lives by the time of its file; one that has not for this long, in milliseconds, is taken for dead. */
const STALE = 30_000;
const HEARTBEAT = 5_000;

type FileHandle = Awaited<ReturnType<typeof import('node:fs/promises')['open']>>;

/** The cache in a folder of the file system; default: `defaultFolder()`. */
export async function folderCache(folder?: string): Promise<Cache> {
  return createCache(await folderHost(folder ?? (await defaultFolder())));
}

/** `ESPALIER_CACHE`, or where this system keeps what can be had again. */
export async function defaultFolder(): Promise<string> {
  const { homedir } = await import('node:os');
  const { join, resolve } = await import('node:path');
  const { env, platform } = await import('node:process');
  if (env['ESPALIER_CACHE']) return resolve(env['ESPALIER_CACHE']);
  if (env['XDG_CACHE_HOME']) return join(env['XDG_CACHE_HOME'], 'espalier');
  if (platform === 'darwin') return join(homedir(), 'Library', 'Caches', 'espalier');
  if (platform === 'win32') return join(env['LOCALAPPDATA'] ?? join(homedir(), 'AppData', 'Local'), 'espalier');
  return join(homedir(), '.cache', 'espalier');
}

/**
 * Writers keep out of each other's way without locks. An unfinished file is called `KEY.OWNER`, and who renames it owns it: a
 * rename succeeds for one alone. `KEY.idle-…` belongs to nobody. Even a writer that was taken for dead and wakes up does no harm:
 * it writes the same bytes at the same places, and cannot finish.
 */
export async function folderHost(place: string): Promise<CacheHost> {
  const folder = await pathOf(place);
  const fs = await import('node:fs/promises');
  const { join } = await import('node:path');
  const { pid } = await import('node:process');
  const machine = (await sha256(await machineName())).slice(0, 8);
  const at = (inside: CacheFolder, name = ''): string => join(folder, inside, name);

  const files: CacheHost['files'] = async (inside) => {
    const names = await fs.readdir(at(inside)).catch((cause) => {
      if (isAbsent(cause)) return [];
      throw readFailed(at(inside), cause);
    });
    const found = await Promise.all(
      names.map(async (name) => {
        // links are not followed: what they lead to is not the cache's
        const info = await fs.lstat(at(inside, name)).catch(() => null);
        if (!info || info.isDirectory()) return [];
        // and what is written into an unfinished file must not change it under another name
        const isOdd = !info.isFile() || (inside === 'partial' && info.nlink > 1);
        return [{ name, bytes: info.size, modified: info.mtimeMs, ...(isOdd && { isOdd }) }];
      }),
    );
    return found.flat();
  };

  /** Whether the one who calls an unfinished file its own still writes it. */
  const isLive = ({ name, modified }: { name: string; modified: number }): boolean => {
    const [, host, owner] = /\.([0-9a-f]{8})-(\d+)-[0-9a-f]+$/.exec(name) ?? [];
    if (owner === undefined || Date.now() - modified > STALE) return false;
    return host !== machine || Number(owner) === pid || isRunning(Number(owner));
  };

  const unfinished = async (key: string) =>
    (await files('partial'))
      .filter(({ name, isOdd }) => name.startsWith(`${key}.`) && !isOdd)
      .sort((a, b) => b.bytes - a.bytes);

  const claim: CacheHost['claim'] = async (key) => {
    const path = at('partial', `${key}.${machine}-${pid}-${random()}`);
    const idle = () => at('partial', `${key}.idle-${random()}`);
    try {
      for (const inside of ['blobs', 'partial'] as const) await fs.mkdir(at(inside), { recursive: true });
      const others = await unfinished(key);
      const writing = others.find(isLive);
      if (writing) return { writer: null, loaded: writing.bytes };
      let file: FileHandle | null = null;
      for (const { name } of others) {
        // what is left over beside the largest is of no use
        if (file) await fs.rm(at('partial', name), { force: true });
        // before it is ours, lest it be taken for dead in between
        else if ((await touch(fs, at('partial', name))) && (await moved(fs, at('partial', name), path))) {
          file = await openRegular(path, { flags: 'r+' }).catch(async (cause) => {
            // a link that was put there since, or a file that has other names: nothing is written into what is not ours
            if (!(cause instanceof EspalierError)) throw cause;
            await fs.rm(path, { force: true });
            return null;
          });
        }
      }
      file ??= await fs.open(path, 'wx+');
      const { size } = await file.stat();
      const writer = folderWriter(fs, { key, path, idle, blobs: at('blobs'), file, size });
      // whoever comes second sees the first: of two at once, at most one goes on
      const rival = (await unfinished(key)).find((other) => isLive(other) && at('partial', other.name) !== path);
      if (!rival) return { writer, loaded: size };
      await writer.release();
      return { writer: null, loaded: rival.bytes };
    } catch (cause) {
      throw writeFailed(folder, cause);
    }
  };

  return {
    name: folder,
    files,
    claim,
    open: async (inside, name) => {
      const path = at(inside, name);
      const info = await fs.lstat(path).catch(() => null);
      return info?.isFile() ? openFile(path, { follow: false }) : null;
    },
    replace: async (inside, name, bytes) => {
      const temporary = at(inside, `.${name}.${random()}`);
      try {
        await fs.mkdir(at(inside), { recursive: true });
        await fs.writeFile(temporary, bytes, { flush: true });
        await fs.rename(temporary, at(inside, name));
      } catch (cause) {
        await fs.rm(temporary, { force: true }).catch(() => {});
        throw writeFailed(folder, cause);
      }
    },
    remove: async (inside, name) => {
      try {
        await fs.unlink(at(inside, name));
        return true;
      } catch (cause) {
        if (isAbsent(cause) || isBusy(cause)) return false;
        throw writeFailed(folder, cause);
      }
    },
  };
}

interface Unfinished {
  readonly key: string;
  readonly path: string;
  /** A name that says that nobody writes. */
  readonly idle: () => string;
  readonly blobs: string;
  file: FileHandle;
  size: number;
}

type Fs = typeof import('node:fs/promises');

function folderWriter(fs: Fs, own: Unfinished): BlobWriter {
  const heartbeat = setInterval(() => void touch(fs, own.path), HEARTBEAT);
  (heartbeat as { unref?(): void }).unref?.(); // some versions of Deno number their timers
  const guard = async <T>(run: () => Promise<T>): Promise<T> => {
    try {
      return await run();
    } catch (cause) {
      throw writeFailed(own.path, cause);
    }
  };
  const end = async (): Promise<void> => {
    clearInterval(heartbeat);
    await own.file.close();
  };
  return {
    get size() {
      return own.size;
    },
    read: async (offset, target) => {
      for (let done = 0; done < target.byteLength; ) {
        const { bytesRead } = await own.file
          .read(target, done, target.byteLength - done, offset + done)
          .catch((cause) => {
            throw readFailed(own.path, cause);
          });
        if (bytesRead === 0) throw readFailed(own.path, new Error('it has become shorter'));
        done += bytesRead;
      }
    },
    write: (bytes) =>
      guard(async () => {
        for (let done = 0; done < bytes.byteLength; ) {
          const { bytesWritten } = await own.file.write(bytes, done, bytes.byteLength - done, own.size);
          done += bytesWritten;
          own.size += bytesWritten;
        }
      }),
    reset: () =>
      guard(async () => {
        // another file of the same name: one who holds the old one open cannot write into it
        await own.file.close();
        await fs.rm(own.path, { force: true });
        own.file = await fs.open(own.path, 'wx+');
        own.size = 0;
      }),
    commit: () =>
      guard(async () => {
        await own.file.sync();
        await end();
        const { join } = await import('node:path');
        const blob = join(own.blobs, own.key);
        try {
          if (!(await moved(fs, own.path, blob))) return false;
        } catch (cause) {
          // Windows replaces no file that somebody reads; the same content is as good
          const there = await fs.stat(blob).catch(() => null);
          if (!isBusy(cause) || there?.size !== own.size) throw cause;
          await fs.rm(own.path, { force: true });
        }
        await syncFolder(fs, own.blobs);
        return true;
      }),
    release: () =>
      guard(async () => {
        await end();
        if (own.size > 0) await moved(fs, own.path, own.idle());
        else await fs.rm(own.path, { force: true });
      }),
    discard: () =>
      guard(async () => {
        await end();
        await fs.rm(own.path, { force: true });
      }),
  };
}

async function machineName(): Promise<string> {
  const { hostname } = await import('node:os');
  try {
    return hostname();
  } catch {
    return ''; // Deno asks for a permission; without it the times of files decide
  }
}

/** Sets a file's time to now. False when it is gone. */
async function touch(fs: Fs, path: string): Promise<boolean> {
  const now = new Date();
  return fs.lutimes(path, now, now).then(
    () => true,
    () => false,
  );
}

/** Renames a file. False when it is gone. */
async function moved(fs: Fs, from: string, to: string): Promise<boolean> {
  try {
    await fs.rename(from, to);
    return true;
  } catch (cause) {
    if (isAbsent(cause)) return false;
    throw cause;
  }
}

/** So that the new name outlives a power failure, where the system can do that. */
async function syncFolder(fs: Fs, path: string): Promise<void> {
  const folder = await fs.open(path, 'r').catch(() => null);
  await folder?.sync().catch(() => {});
  await folder?.close();
}

/** Whether a process of this machine runs; when in doubt it does. */
function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (cause) {
    return (cause as { code?: unknown }).code !== 'ESRCH';
  }
}

function isAbsent(cause: unknown): boolean {
  const { code } = cause as { code?: unknown };
  return code === 'ENOENT' || code === 'ENOTDIR';
}

/** Windows moves and removes no file that somebody has open. */
function isBusy(cause: unknown): boolean {
  const { code } = cause as { code?: unknown };
  return process.platform === 'win32' && (code === 'EPERM' || code === 'EACCES' || code === 'EBUSY');
}

function random(): string {
  return crypto.randomUUID().slice(0, 8);
}
