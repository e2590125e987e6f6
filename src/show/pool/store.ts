import { EspalierError } from '../../errors.ts';
import { refusal, words } from '../../options/rules.ts';
import type { CacheHost } from '../../runtime/cache/types.ts';
import { equalBytes } from '../../runtime/files/bytes.ts';
import { sha256Bytes } from '../../runtime/files/hash.ts';
import { hasNode } from '../../runtime/host/types.ts';
import type { ShotStore } from '../types.ts';

const KEY = /^[0-9a-f]{64}$/;
const CHECKSUM = 32;

/**
 * Encoded shots on disk, one file each: in Node, Deno and Bun a folder (default: `shots` in the cache's folder), in browsers the origin
 * private file system, and where there is none, memory.
 *
 * @param folder a path, or in browsers a plain name
 * @throws E_ARGUMENT
 */
export async function openShotStore(folder?: string): Promise<ShotStore> {
  if (folder !== undefined) words.check(folder, 'The folder');
  // imported on demand, so that the graph of modules stays free of node: imports in a browser
  if (hasNode()) {
    const { defaultFolder, folderHost } = await import('../../runtime/cache/folder.ts');
    return shotStore(await folderHost(folder ?? `${await defaultFolder()}/shots`));
  }
  const { hasOpfs, opfsHost } = await import('../../runtime/cache/opfs.ts');
  // what this file system does not take as a name would be a TypeError with every entry
  if (folder !== undefined && /[/\\]|^\.{1,2}$/.test(folder)) throw refusal('The folder', folder, 'a plain name');
  if (await hasOpfs()) return shotStore(await opfsHost(folder ?? 'espalier-shots'));
  return memoryShotStore();
}

/** Stores in memory. */
const passing = new WeakSet<ShotStore>();

/** Lasts as long as the object. */
export async function memoryShotStore(): Promise<ShotStore> {
  const { memoryHost } = await import('../../runtime/cache/memory.ts');
  const store = shotStore(memoryHost());
  passing.add(store);
  return store;
}

/** Whether another worker, or a later run, finds what is written. */
export function isLasting(store: ShotStore): boolean {
  return !passing.has(store);
}

/**
 * A store over a place for files. An entry is its content and the sha256 of its key and that, so that half-written and damaged ones are found
 * out, and those of another key.
 */
export function shotStore(host: CacheHost): ShotStore {
  const nameOf = (key: string): string => {
    if (KEY.test(key)) return `sha256-${key}`;
    throw new EspalierError(
      'E_ARGUMENT',
      `"${key.slice(0, 100)}" is no key of a shot.`,
      'Give a sha256 in lower case.',
    );
  };
  return {
    name: host.name,
    read: async (key, size) => {
      const source = await host.open('blobs', nameOf(key)).catch(() => null);
      if (source === null) return null;
      try {
        if (source.size < CHECKSUM || (size !== undefined && source.size !== size + CHECKSUM)) return null;
        const bytes = new Uint8Array(source.size);
        await source.readInto(0, bytes);
        const content = bytes.subarray(0, source.size - CHECKSUM);
        const sum = await checksum(key, content);
        return equalBytes(sum, bytes.subarray(content.byteLength)) ? content : null;
      } catch {
        // whatever is wrong with it, it can be made anew
        return null;
      } finally {
        await source.close();
      }
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
