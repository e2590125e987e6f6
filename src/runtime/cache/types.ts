/** What a cache is, and what it needs of a place to store files. */
import type { ByteSource } from '../files/source.ts';

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
