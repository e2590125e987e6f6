import { blobSource, checkRange } from '../files/bytes.ts';
import { createCache } from './cache.ts';
import type { BlobWriter, Cache, CacheFolder, CacheHost, Claim } from './types.ts';

interface Stored {
  readonly blob: Blob;
  readonly modified: number;
}

/** A cache that lasts as long as the object: for `cache: null`, and where the host keeps no files. */
export function memoryCache(): Cache {
  return createCache(memoryHost());
}

export function memoryHost(): CacheHost {
  const folders = { blobs: new Map<string, Stored>(), refs: new Map<string, Stored>(), partial: new Map() };
  const busy = new Map<string, BlobWriter>();
  const put = (folder: CacheFolder, name: string, parts: BlobPart[]): void => {
    folders[folder].set(name, { blob: new Blob(parts), modified: Date.now() });
  };
  return {
    name: 'memory',
    files: async (folder) =>
      [...(folders[folder] as Map<string, Stored>)].map(([name, { blob, modified }]) => ({
        name,
        bytes: blob.size,
        modified,
      })),
    open: async (folder, name) => {
      const stored: Stored | undefined = folders[folder].get(name);
      return stored ? blobSource(name, stored.blob) : null;
    },
    replace: async (folder, name, bytes) => put(folder, name, [bytes.slice()]),
    remove: async (folder, name) => folders[folder].delete(name),
    claim: async (key): Promise<Claim> => {
      const other = busy.get(key);
      if (other) return { writer: null, loaded: other.size };
      const kept: Stored | undefined = folders.partial.get(key);
      folders.partial.delete(key);
      // Blobs of Blobs: a browser may move them out of memory, and joining them copies nothing there
      let parts: Blob[] = kept ? [kept.blob] : [];
      let size = kept?.blob.size ?? 0;
      const end = (folder: CacheFolder | null): void => {
        busy.delete(key);
        if (folder !== null && (size > 0 || folder === 'blobs')) put(folder, key, parts);
      };
      const writer: BlobWriter = {
        get size() {
          return size;
        },
        read: async (offset, target) => {
          checkRange(key, size, offset, target.byteLength);
          const part = new Blob(parts).slice(offset, offset + target.byteLength);
          target.set(new Uint8Array(await part.arrayBuffer()));
        },
        write: async (bytes) => {
          parts.push(new Blob([bytes as Uint8Array<ArrayBuffer>]));
          size += bytes.byteLength;
        },
        reset: async () => {
          parts = [];
          size = 0;
        },
        commit: async () => {
          end('blobs');
          return true;
        },
        release: async () => end('partial'),
        discard: async () => end(null),
      };
      busy.set(key, writer);
      return { writer, loaded: size };
    },
  };
}
