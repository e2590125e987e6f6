import { either, folder, like } from '../../options/rules.ts';
import type { OutputFolder } from './output.ts';

const METHODS = ['writeBytes', 'files', 'commit', 'release'] as const;

/** Where a job writes to: a folder's path or file URL, or an output of the caller's own. */
export const output = either(
  folder,
  like<OutputFolder>('an output, such as memoryOutput() gives', (value) =>
    METHODS.every((name) => typeof (value as unknown as Record<string, unknown>)[name] === 'function'),
  ),
);

/** The output that is meant. One of the caller's own stays his. @throws as `folderOutput` */
export async function outputOf(out: string | URL | OutputFolder): Promise<OutputFolder> {
  if (typeof out === 'object' && !(out instanceof URL)) return out;
  // hosts without files never load it
  const { folderOutput } = await import('./folder.ts');
  return folderOutput(out);
}
