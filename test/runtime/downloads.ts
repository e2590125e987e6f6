/** Servers, caches and models to download; a test file has its own. */
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { folderCache } from '../../src/runtime/cache/folder.ts';
import type { Cache } from '../../src/runtime/cache/types.ts';
import { openModelFiles, readWhole } from '../../src/runtime/files/model-files.ts';
import type { ModelFiles } from '../../src/runtime/files/source.ts';
import type { DownloadProgress } from '../../src/runtime/hub/download-progress.ts';
import type { FilesOptions } from '../../src/runtime/hub/options.ts';
import { type Behaviour, HubServer, noise, text } from './hub-server.ts';

export const SIZE = 300_000;
export const WEIGHTS = 'model.safetensors';
const root = await mkdtemp(join(tmpdir(), 'espalier-download-'));
export const server = await HubServer.start();
let count = 0;
let folders = 0;

export const newFolder = (): string => join(root, String(++folders));

export interface Given {
  readonly bytes: Uint8Array;
  readonly target: string;
  readonly folder: string;
  readonly options: FilesOptions & { readonly cache: Cache };
  readonly calls: DownloadProgress[];
}

/** A model of the hub that nobody has downloaded yet, and a cache for it. */
export async function given(size = SIZE): Promise<Given> {
  server.reset();
  const bytes = noise(size);
  const target = `owner/model${++count}`;
  server.add(target, {
    'config.json': { bytes: text('{}') },
    'tokenizer.json': { bytes: text('{}') },
    [WEIGHTS]: { bytes, lfs: true },
  });
  const folder = newFolder();
  const calls: DownloadProgress[] = [];
  const onDownload = (progress: DownloadProgress) => void calls.push(progress);
  const hub = { endpoint: server.endpoint, retries: 2, retryDelay: 2, timeout: 120_000 };
  return { bytes, target, folder, calls, options: { hub, onDownload, cache: await folderCache(folder) } };
}

export async function contentOf(files: ModelFiles): Promise<Record<string, Uint8Array>> {
  const content: Record<string, Uint8Array> = {};
  for (const name of files.names) {
    const source = await files.open(name);
    content[name] = await readWhole(source, 1 << 24);
    await source.close();
  }
  return content;
}

export async function weightsOf(target: string, options: FilesOptions, name = WEIGHTS): Promise<Uint8Array> {
  const source = await (await openModelFiles(target, options)).open(name);
  const content = await readWhole(source, 1 << 24);
  await source.close();
  return content;
}

export const offline = (options: FilesOptions): FilesOptions => ({
  ...options,
  hub: { ...options.hub, offline: true },
});

/** How many bytes of an unfinished file a cache holds; undefined without one. */
export const kept = async (cache: Cache): Promise<number | undefined> =>
  (await cache.list()).find(({ kind }) => kind === 'partial')?.bytes;

/** Answers with so many bytes and a connection that then breaks. */
export const cutAfter = (after: number, cache: Cache): Behaviour => ({
  cut: { after, kept: async (end) => (await kept(cache)) === end },
});

/** Unfinished files in a cache. */
export const partials = async (folder: string): Promise<string[]> => (await readdir(join(folder, 'partial'))).sort();

export async function close(): Promise<void> {
  await server.close();
  await rm(root, { recursive: true });
}
