/** Places for the outputs of one test file. */
import { mkdir, mkdtemp, readdir, realpath } from 'node:fs/promises';
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
