import { EspalierError } from '../../errors.ts';
import { shown } from '../../options/shown.ts';
import type { ByteSource } from '../files/source.ts';
import { verifyBlobs } from './verify.ts';

/**
 * Downloaded files, kept between runs. Contents ("blobs") are stored under a key that says what they must be: `sha256-HEX`,
 * `git-HEX` (a git blob's SHA-1), or `url-HEX` for an address and the version that its server named. References say which blobs
 * make up a model.
 */
export interface Cache {
  /** Where it lies; for messages. */
  readonly name: string;
  /** A complete blob, or null; also null when `size` is given and the blob has another. */
  open(blob: string, size?: number): Promise<ByteSource | null>;
  /**
   * Begins to write a blob, or goes on with what an earlier run left of it. While somebody else writes it, in this process, another
   * one or another tab, there is no writer, and `loaded` says how many bytes they have.
   */
  claim(blob: string): Promise<Claim>;
  /** Null also when what is stored makes no sense. */
  readRef(ref: string): Promise<CacheRef | null>;
  writeRef(ref: string, content: CacheRef): Promise<void>;
  /** What takes space: models, blobs that belong to none, and unfinished downloads. */
  list(): Promise<CacheEntry[]>;
  /** Removes an entry by its key; with a model also its blobs, unless another model has them too. False when nothing was there. */
  remove(key: string): Promise<boolean>;
  clear(): Promise<void>;
  /**
   * Reads every blob and compares it with what its key, or the models that have it, say of it. Opening a blob looks at its size alone.
   * @returns those that are not what they should be; to be removed, and downloaded again when they are wanted
   * @throws E_ABORTED
   */
  verify(options?: VerifyOptions): Promise<CacheFault[]>;
}

export interface VerifyOptions {
  readonly signal?: AbortSignal | undefined;
  /** Called as blobs are read, with bytes so far and in all. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

export interface CacheFault {
  /** For `remove`. */
  readonly key: string;
  /** Models that have it. */
  readonly models: readonly string[];
  /**
   * `content`: its checksum is another; `size`: its size is another; `kind`: it is a link or no file, and counts as absent;
   * `unreadable`; `unknown`: its name is no key, or nothing says what it must be.
   */
  readonly fault: 'content' | 'size' | 'kind' | 'unreadable' | 'unknown';
}

export interface CacheEntry {
  readonly key: string;
  readonly kind: 'model' | 'blob' | 'partial';
  /** Of a model what it was opened as, `owner/name@revision` or an address; else the key of the blob. */
  readonly name: string;
  /** On disk. A blob that several models have counts in each of them. */
  readonly bytes: number;
  /** Milliseconds since 1970. */
  readonly modified: number;
}

export interface CacheRef {
  readonly name: string;
  /** The commit that the revision stood for. */
  readonly commit?: string | undefined;
  /** Everything that could be wanted of the model; whether a file is there, its blob says. */
  readonly files: readonly CacheFile[];
}

export interface CacheFile {
  readonly name: string;
  readonly blob: string;
  readonly size: number;
  /** Of the content, where the blob's key does not tell it. */
  readonly sha256?: string | undefined;
}

export interface Claim {
  readonly writer: BlobWriter | null;
  readonly loaded: number;
}

/** Appends to one blob, alone. End it with exactly one of `commit`, `release` and `discard`. */
export interface BlobWriter {
  /** Bytes that are there, from an earlier run too. */
  readonly size: number;
  /** Fills `target` with what was written from `offset` on. Only before the first `write`. */
  read(offset: number, target: Uint8Array): Promise<void>;
  /** @throws E_STORAGE_FULL, E_FILE_WRITE */
  write(bytes: Uint8Array): Promise<void>;
  /** Back to nothing. */
  reset(): Promise<void>;
  /** Makes it a blob, at once and as a whole. False when somebody took or removed the unfinished file meanwhile. */
  commit(): Promise<boolean>;
  /** Leaves what is there for a later run. */
  release(): Promise<void>;
  discard(): Promise<void>;
}

export type CacheFolder = 'blobs' | 'refs' | 'partial';

export interface HostFile {
  readonly name: string;
  readonly bytes: number;
  readonly modified: number;
  /** Set for what is no file of the cache's own: a link, a named pipe. It can be removed, and is never opened. */
  readonly isOdd?: boolean | undefined;
}

/** The little that a place to store files must be able to do. Names are plain: letters, digits, `.`, `_` and `-`. */
export interface CacheHost {
  readonly name: string;
  files(folder: CacheFolder): Promise<HostFile[]>;
  /** Null when it is not there, or no regular file of this folder. */
  open(folder: CacheFolder, name: string): Promise<ByteSource | null>;
  /** Writes a small file as a whole. */
  replace(folder: CacheFolder, name: string, bytes: Uint8Array): Promise<void>;
  /** False when it is not there, or somebody is using it and the host forbids it. */
  remove(folder: CacheFolder, name: string): Promise<boolean>;
  claim(blob: string): Promise<Claim>;
}

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
