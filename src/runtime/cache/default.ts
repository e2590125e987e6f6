import { words } from '../../options/rules.ts';
import { hasNode } from '../host/types.ts';
import type { Cache } from './types.ts';

/**
 * The cache of this host: a folder in Node, Deno and Bun (`ESPALIER_CACHE`, else the system's folder for caches), the origin private
 * file system in browsers, and where there is none, memory.
 *
 * @param folder instead of the default one: a path, or in browsers a plain name
 */
export async function openCache(folder?: string): Promise<Cache> {
  if (folder !== undefined) words.check(folder, 'The folder of the cache');
  // imported on demand, so that the graph of modules stays free of node: imports in a browser
  if (hasNode()) return (await import('./folder.ts')).folderCache(folder);
  const { hasOpfs, opfsCache } = await import('./opfs.ts');
  if (await hasOpfs()) return opfsCache(folder);
  const { memoryCache } = await import('./memory.ts');
  return memoryCache();
}
