/**
 * Files for tests in every host: from the file system in Node and Deno, from the test server in a browser. Paths are relative to the
 * project (`models/nano-base`, `../shared/golden/nano.json`). Nothing of node: is imported before it is used, so that a browser can
 * load this module.
 */
import type { ModelTarget } from '../src/runtime/files/model-files.ts';

/** `file:` or `http:`. The server has ../shared as /shared, which is also where that relative address leads. */
const project = new URL('../', import.meta.url);
export const hasFileSystem = project.protocol === 'file:';
const locate = (path: string): URL => new URL(path, project);

interface Entry {
  readonly size: number;
  /** Of a folder. */
  readonly names?: string[];
}

async function entry(path: string): Promise<Entry | null> {
  if (!hasFileSystem) return (await fetched(`${path}?stat`)).json();
  const { readdir, stat } = await import('node:fs/promises');
  const info = await stat(locate(path)).catch(() => null);
  return info && { size: info.size, ...(info.isDirectory() ? { names: await readdir(locate(path)) } : {}) };
}

async function fetched(path: string, init?: RequestInit): Promise<Response> {
  const response = await fetch(locate(path), init);
  if (!response.ok) throw new Error(`${path}: HTTP ${response.status}`);
  return response;
}

export async function exists(path: string): Promise<boolean> {
  return (await entry(path)) !== null;
}

export async function sizeOf(path: string): Promise<number> {
  const found = await entry(path);
  if (found === null) throw new Error(`There is no ${path}.`);
  return found.size;
}

/** Names in a folder, sorted, hidden ones left out. */
export async function list(path: string): Promise<string[]> {
  const names = (await entry(path))?.names;
  if (!names) throw new Error(`There is no folder ${path}.`);
  return names.filter((name) => !name.startsWith('.')).sort();
}

/** The whole file, or its first `length` bytes. */
export async function readBytes(path: string, length?: number): Promise<Uint8Array<ArrayBuffer>> {
  if (!hasFileSystem) {
    const init = length === undefined ? {} : { headers: { Range: `bytes=0-${length - 1}` } };
    return new Uint8Array(await (await fetched(path, init)).arrayBuffer());
  }
  const { open, readFile } = await import('node:fs/promises');
  if (length === undefined) return new Uint8Array(await readFile(locate(path)));
  const file = await open(locate(path));
  try {
    const { buffer, bytesRead } = await file.read(new Uint8Array(length), 0, length, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

export async function readText(path: string, encoding = 'utf-8'): Promise<string> {
  return new TextDecoder(encoding).decode(await readBytes(path));
}

/** A JSON file, unpacked when its name ends in `.gz`. */
// biome-ignore lint/suspicious/noExplicitAny: the shape is the test's business
export async function readJson(path: string): Promise<any> {
  if (!path.endsWith('.gz')) return JSON.parse(await readText(path));
  const stream = new Blob([await readBytes(path)]).stream().pipeThrough(new DecompressionStream('gzip'));
  return new Response(stream).json();
}

const targets = new Map<string, Promise<ModelTarget>>();

/** A model folder or GGUF file as the library takes it: its path, or in a browser Blobs. */
export async function modelTarget(path: string): Promise<ModelTarget> {
  if (hasFileSystem) {
    const { fileURLToPath } = await import('node:url');
    return fileURLToPath(locate(path));
  }
  let target = targets.get(path);
  if (!target) {
    target = blobs(path);
    targets.set(path, target);
  }
  return target;
}

async function blobs(path: string): Promise<ModelTarget> {
  const read = async (file: string) => (await fetched(file)).blob();
  const found = await entry(path);
  if (!found?.names) return read(path);
  return Object.fromEntries(
    await Promise.all(found.names.map(async (name) => [name, await read(`${path}/${name}`)] as const)),
  );
}
