import { type EntryKind, entryStore, memoryEntryStore, openEntryStore } from '../../runtime/cache/entries.ts';
import type { CacheHost } from '../../runtime/cache/types.ts';
import type { ShotStore } from '../types.ts';

const SHOTS: EntryKind = { one: 'a shot', place: 'shots' };

/**
 * Encoded shots on disk, one file each: in Node, Deno and Bun a folder (default: `shots` in the cache's folder), in browsers the origin
 * private file system, and where there is none, memory.
 *
 * @param folder a path, or in browsers a plain name
 * @throws E_ARGUMENT
 */
export async function openShotStore(folder?: string): Promise<ShotStore> {
  return (await openEntryStore(SHOTS, folder)) ?? memoryShotStore();
}

/** Stores in memory. */
const passing = new WeakSet<ShotStore>();

/** Lasts as long as the object. */
export async function memoryShotStore(): Promise<ShotStore> {
  const store = await memoryEntryStore(SHOTS);
  passing.add(store);
  return store;
}

/** Whether another worker, or a later run, finds what is written. */
export function isLasting(store: ShotStore): boolean {
  return !passing.has(store);
}

/** A store over a place for files. */
export function shotStore(host: CacheHost): ShotStore {
  return entryStore(host, SHOTS.one);
}
