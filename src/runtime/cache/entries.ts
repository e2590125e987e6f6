import { EspalierError } from '../../errors.ts';
import { refusal, words } from '../../options/rules.ts';
import { equalBytes } from '../files/bytes.ts';
import { sha256Bytes } from '../files/hash.ts';
import { hasNode } from '../host/types.ts';
import type { CacheHost } from './types.ts';

const KEY = /^[0-9a-f]{64}$/;
const CHECKSUM = 32;

/** What is computed once and kept between runs, by a digest of all that it depends on. */
export interface EntryStore {
  /** For messages. */
  readonly name: string;
  /**
   * The entry that was written under this key, checked by its checksum; null when there is none, or it is damaged or another one's.
   * @param size bytes that it must have: another is a miss, and is not read
   */
  read(key: string, size?: number): Promise<Uint8Array<ArrayBuffer> | null>;
  /** The same, telling what is damaged from what is not there. */
  find(key: string, size?: number): Promise<Uint8Array<ArrayBuffer> | 'none' | 'damaged'>;
  /** @throws E_STORAGE_FULL, E_FILE_WRITE */
  write(key: string, entry: Uint8Array): Promise<void>;
  remove(key: string): Promise<boolean>;
  /** Bytes of all entries. */
  bytes(): Promise<number>;
  clear(): Promise<void>;
}

/** What entries are, and where they lie by default. */
export interface EntryKind {
  /** One, for messages: `a shot`. */
  readonly one: string;
  /** A plain name: of a folder in the cache's, or in the origin private file system behind `espalier-`. */
  readonly place: string;
}

/**
 * Entries on disk, one file each: in Node, Deno and Bun a folder (default: one in the cache's folder), in browsers the origin private file
 * system; null where there is neither.
 * @param folder a path, or in browsers a plain name
 * @throws E_ARGUMENT
 */
export async function openEntryStore(kind: EntryKind, folder?: string): Promise<EntryStore | null> {
  if (folder !== undefined) words.check(folder, 'The folder');
  // imported on demand, so that the graph of modules stays free of node: imports in a browser
  if (hasNode()) {
    const { defaultFolder, folderHost } = await import('./folder.ts');
    return entryStore(await folderHost(folder ?? `${await defaultFolder()}/${kind.place}`), kind.one);
  }
  const { hasOpfs, opfsHost } = await import('./opfs.ts');
  // what this file system does not take as a name would be a TypeError with every entry
  if (folder !== undefined && /[/\\]|^\.{1,2}$/.test(folder)) throw refusal('The folder', folder, 'a plain name');
  return (await hasOpfs()) ? entryStore(await opfsHost(folder ?? `espalier-${kind.place}`), kind.one) : null;
}

/** Lasts as long as the object. */
export async function memoryEntryStore({ one }: EntryKind): Promise<EntryStore> {
  const { memoryHost } = await import('./memory.ts');
  return entryStore(memoryHost(), one);
}

/**
 * A store over a place for files. An entry is its content and the sha256 of its key and that, so that half-written and damaged ones are found
 * out, and those of another key.
 * @param one what an entry is, for messages
 */
export function entryStore(host: CacheHost, one: string): EntryStore {
  const nameOf = (key: string): string => {
    if (KEY.test(key)) return `sha256-${key}`;
    throw new EspalierError(
      'E_ARGUMENT',
      `"${key.slice(0, 100)}" is no key of ${one}.`,
      'Give a sha256 in lower case.',
    );
  };
  const find: EntryStore['find'] = async (key, size) => {
    const source = await host.open('blobs', nameOf(key)).catch(() => 'damaged' as const);
    if (source === null) return 'none';
    if (source === 'damaged') return source;
    try {
      if (source.size < CHECKSUM || (size !== undefined && source.size !== size + CHECKSUM)) return 'damaged';
      const bytes = new Uint8Array(source.size);
      await source.readInto(0, bytes);
      const content = bytes.subarray(0, source.size - CHECKSUM);
      const sum = await checksum(key, content);
      return equalBytes(sum, bytes.subarray(content.byteLength)) ? content : 'damaged';
    } catch {
      // whatever is wrong with it, it can be made anew
      return 'damaged';
    } finally {
      await source.close();
    }
  };
  return {
    name: host.name,
    find,
    read: async (key, size) => {
      const found = await find(key, size);
      return typeof found === 'string' ? null : found;
    },
    write: async (key, entry) => {
      const name = nameOf(key);
      const bytes = new Uint8Array(entry.byteLength + CHECKSUM);
      bytes.set(entry);
      // the entry may stand in shared memory, which Web Crypto does not take
      bytes.set(await checksum(key, bytes.subarray(0, entry.byteLength)), entry.byteLength);
      await host.replace('blobs', name, bytes);
    },
    remove: (key) => host.remove('blobs', nameOf(key)),
    bytes: async () => (await host.files('blobs')).reduce((sum, file) => sum + file.bytes, 0),
    clear: async () => {
      for (const { name } of await host.files('blobs')) await host.remove('blobs', name);
    },
  };
}

/** sha256 of the key and the sha256 of the content. */
async function checksum(key: string, bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  const ofContent = await sha256Bytes(bytes);
  const both = new Uint8Array(key.length + ofContent.byteLength);
  both.set(new TextEncoder().encode(key));
  both.set(ofContent, key.length);
  return sha256Bytes(both);
}
