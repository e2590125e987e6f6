import { EspalierError } from '../errors.ts';
import { pathOf } from '../runtime/files/path.ts';
import { fileSystem } from './file-system.ts';

/** A folder with files of data. */
export interface DataFolder {
  readonly path: string;
  /** Of the files in it, sorted; those one folder below with its name and a slash before theirs. */
  readonly names: readonly string[];
  /** The path of the first of these names that is there, with `.json` or `.jsonl` behind it; undefined where none is. */
  find(...names: readonly string[]): string | undefined;
}

const ENDS = ['.json', '.jsonl'];

/** @throws E_FILE_NOT_FOUND for what is no folder; E_FILE_READ; E_ARGUMENT where the host has no file system */
export async function dataFolder(target: string | URL): Promise<DataFolder> {
  const { readdir } = await fileSystem();
  const path = await pathOf(target);
  const list = (folder: string) => readdir(folder, { withFileTypes: true });
  try {
    const entries = await list(path);
    const inner = await Promise.all(
      entries
        .filter((entry) => entry.isDirectory() || entry.isSymbolicLink())
        .map(async ({ name }) => {
          // what cannot be looked into, such as a link to a file, holds nothing for us
          const inside = await list(`${path}/${name}`).catch(() => []);
          return inside.map((entry) => `${name}/${entry.name}`);
        }),
    );
    const files = entries.filter((entry) => !entry.isDirectory()).map(({ name }) => name);
    const names = [...files, ...inner.flat()].sort();
    const find = (...wanted: readonly string[]): string | undefined => {
      const name = wanted.flatMap((one) => ENDS.map((end) => one + end)).find((one) => names.includes(one));
      return name === undefined ? undefined : `${path}/${name}`;
    };
    return { path, names, find };
  } catch (cause) {
    const { code } = cause as { readonly code?: unknown };
    if (code === 'ENOENT') {
      throw new EspalierError('E_FILE_NOT_FOUND', `There is no ${path}.`, 'Check the path.', { cause });
    }
    if (code === 'ENOTDIR') {
      throw new EspalierError('E_FILE_NOT_FOUND', `${path} is no folder.`, 'Give the folder of the data.', { cause });
    }
    throw new EspalierError('E_FILE_READ', `${path} cannot be read.`, 'Check its permissions.', { cause });
  }
}
