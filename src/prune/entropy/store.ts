import { type EntryKind, type EntryStore, memoryEntryStore, openEntryStore } from '../../runtime/cache/entries.ts';

const ENTROPIES: EntryKind = { one: 'entropies', place: 'entropies' };

/**
 * Entropies of data on disk: in Node, Deno and Bun a folder (default: `entropies` in the cache's folder), in browsers the origin private
 * file system, and where there is none, memory.
 * @param folder a path, or in browsers a plain name
 * @throws E_ARGUMENT
 */
export async function openEntropyStore(folder?: string): Promise<EntryStore> {
  return (await openEntryStore(ENTROPIES, folder)) ?? memoryEntropyStore();
}

/** Lasts as long as the object. */
export function memoryEntropyStore(): Promise<EntryStore> {
  return memoryEntryStore(ENTROPIES);
}
