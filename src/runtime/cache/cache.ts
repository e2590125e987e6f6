import { EspalierError } from '../../errors.ts';
import { shown } from '../../options/shown.ts';
import type { ByteSource } from '../files/source.ts';
import type { Cache, CacheEntry, CacheFile, CacheFolder, CacheHost, CacheRef, HostFile } from './types.ts';
import { verifyBlobs } from './verify.ts';

const FOLDERS: readonly CacheFolder[] = ['blobs', 'refs', 'partial'];
const BLOB = /^(?:sha256|git|url)-[0-9a-f]{40,64}$/;
const REF = /^[\w.-]{1,160}\.json$/;
const MAX_REF = 16 << 20;

/** A cache over a place to store files. */
export function createCache(host: CacheHost): Cache {
  const open = async (blob: string, size?: number): Promise<ByteSource | null> => {
    const source = await host.open('blobs', checked(blob, BLOB));
    if (source === null || size === undefined || source.size === size) return source;
    await source.close();
    return null;
  };

  const readRef = async (ref: string): Promise<CacheRef | null> => {
    const source = await host.open('refs', checked(ref, REF));
    if (source === null) return null;
    try {
      if (source.size > MAX_REF) return null;
      const bytes = new Uint8Array(source.size);
      await source.readInto(0, bytes);
      return refOf(JSON.parse(new TextDecoder().decode(bytes)));
    } catch {
      return null;
    } finally {
      await source.close();
    }
  };

  const refs = async (): Promise<{ ref: string; modified: number; content: CacheRef | null }[]> => {
    const found = (await host.files('refs')).filter(({ name }) => REF.test(name));
    return Promise.all(found.map(async ({ name: ref, modified }) => ({ ref, modified, content: await readRef(ref) })));
  };

  const removeModel = async (ref: string): Promise<boolean> => {
    const others = new Set<string>();
    for (const other of await refs()) {
      if (other.ref !== ref) for (const { blob } of other.content?.files ?? []) others.add(blob);
    }
    const content = await readRef(ref);
    const removed = await host.remove('refs', ref);
    for (const { blob } of content?.files ?? []) if (!others.has(blob)) await host.remove('blobs', blob);
    return removed;
  };

  return {
    name: host.name,
    open,
    claim: async (blob) => host.claim(checked(blob, BLOB)),
    readRef,
    writeRef: async (ref, content) =>
      host.replace('refs', checked(ref, REF), new TextEncoder().encode(JSON.stringify(content, null, 1))),
    list: async () => {
      const blobs = new Map((await host.files('blobs')).map((file) => [file.name, file]));
      const orphans = new Set(blobs.keys());
      const entries: CacheEntry[] = [];
      for (const { ref, modified, content } of await refs()) {
        const own = new Set(content?.files.map(({ blob }) => blob));
        let bytes = 0;
        for (const blob of own) {
          bytes += blobs.get(blob)?.bytes ?? 0;
          orphans.delete(blob);
        }
        entries.push({ key: `refs/${ref}`, kind: 'model', name: content?.name ?? ref, bytes, modified });
      }
      const add = (kind: 'blob' | 'partial', key: string, { name, bytes, modified }: HostFile): void => {
        entries.push({ key, kind, name: kind === 'blob' ? name : name.split('.')[0]!, bytes, modified });
      };
      for (const name of orphans) add('blob', `blobs/${name}`, blobs.get(name)!);
      for (const file of await host.files('partial')) add('partial', `partial/${file.name}`, file);
      return entries;
    },
    remove: async (key) => {
      const [, folder, name] = /^(blobs|refs|partial)\/([\w.-]{1,200})$/.exec(key) ?? [];
      if (name === undefined || /^\.+$/.test(name)) return false;
      return folder === 'refs' ? removeModel(name) : host.remove(folder as CacheFolder, name);
    },
    clear: async () => {
      for (const folder of FOLDERS) for (const { name } of await host.files(folder)) await host.remove(folder, name);
    },
    verify: async (options) =>
      verifyBlobs(
        host,
        (await refs()).flatMap(({ content }) => content ?? []),
        options,
      ),
  };
}

/** Keys become names of files. */
function checked(key: string, pattern: RegExp): string {
  if (typeof key === 'string' && pattern.test(key)) return key;
  throw new EspalierError('E_ARGUMENT', `${shown(key)} is no key of the cache.`, 'Take one from list().');
}

function refOf(value: unknown): CacheRef | null {
  const { name, commit, files } = (value ?? {}) as Record<string, unknown>;
  if (typeof name !== 'string' || !Array.isArray(files)) return null;
  if (commit !== undefined && typeof commit !== 'string') return null;
  return files.every(isFile) ? { name, commit, files } : null;
}

function isFile(value: unknown): value is CacheFile {
  const { name, blob, size, sha256 } = (value ?? {}) as Record<string, unknown>;
  if (typeof name !== 'string' || typeof blob !== 'string' || !BLOB.test(blob)) return false;
  if (sha256 !== undefined && !(typeof sha256 === 'string' && /^[0-9a-f]{64}$/.test(sha256))) return false;
  return typeof size === 'number' && Number.isSafeInteger(size) && size >= 0;
}

/** What went wrong with a write, by its code. */
export function writeFailed(place: string, cause: unknown): EspalierError {
  if (cause instanceof EspalierError) return cause;
  const { code, name } = (cause ?? {}) as { code?: unknown; name?: unknown };
  if (code === 'ENOSPC' || code === 'EDQUOT' || name === 'QuotaExceededError') {
    return new EspalierError(
      'E_STORAGE_FULL',
      `There is no space left in ${place}.`,
      'Free space, or remove models from the cache, and start again: what has been downloaded is kept.',
      { cause },
    );
  }
  return new EspalierError(
    'E_FILE_WRITE',
    `${place} could not be written.`,
    'Check permissions, choose another folder with ESPALIER_CACHE, or pass cache: null.',
    { cause },
  );
}
