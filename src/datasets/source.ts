import { type Rule, refusal } from '../options/rules.ts';
import { blobSource, bytesSource } from '../runtime/files/bytes.ts';
import { pathOf } from '../runtime/files/path.ts';
import { openFile } from '../runtime/files/paths.ts';
import type { ByteSource } from '../runtime/files/source.ts';
import { fileSystem } from './file-system.ts';

/** One file of examples: its path or file URL (Node, Deno, Bun), or its content. */
export type DataSource = string | URL | Uint8Array | Blob;

export const dataSource: Rule<DataSource> = {
  takes: 'a path, a file URL, bytes or a Blob',
  check: (value, name) => {
    const isBlob = typeof Blob !== 'undefined' && value instanceof Blob;
    if (isBlob || value instanceof URL || value instanceof Uint8Array || (typeof value === 'string' && value !== '')) {
      return value as DataSource;
    }
    throw refusal(name, value, dataSource.takes);
  },
};

/** What messages call data without a name. */
export const UNNAMED = 'The data';

export const isPath = (source: DataSource): source is string | URL =>
  typeof source === 'string' || source instanceof URL;

/** @throws E_FILE_NOT_FOUND, E_FILE_READ; E_ARGUMENT for a path where the host has no file system */
export async function openSource(source: DataSource): Promise<ByteSource> {
  if (source instanceof Uint8Array) return bytesSource(UNNAMED, source);
  if (!isPath(source)) return blobSource((source as Partial<File>).name ?? UNNAMED, source);
  await fileSystem();
  return openFile(await pathOf(source));
}
