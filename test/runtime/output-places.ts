/** Places for the outputs of one test file. */
import { mkdir, mkdtemp, readdir, realpath, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

export const root = await realpath(await mkdtemp(join(tmpdir(), 'espalier-output-')));
export let count = 0;
/** Where nothing is, in a folder of its own. */
export async function place(): Promise<string> {
  const parent = join(root, String(++count));
  await mkdir(parent);
  return join(parent, 'model');
}
export const beside = async (path: string): Promise<string[]> => (await readdir(dirname(path))).sort();
export const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

/**
 * Until the file system gives files another time, in milliseconds as Deno tells it: its clock may stand still for ten, and a new file may get the inode of the
 * one before.
 */
export async function nextTime(path: string): Promise<void> {
  const at = `${path}.time`;
  const now = async (): Promise<number> => {
    await writeFile(at, 'x');
    return (await stat(at)).mtime?.getTime() ?? 0;
  };
  const before = await now();
  while ((await now()) === before) await new Promise((resolve) => setTimeout(resolve, 1));
  await rm(at);
}
