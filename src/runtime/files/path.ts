import { EspalierError } from '../../errors.ts';
import { shown } from '../../options/shown.ts';

/** Whether a text names an address, of a file or of the web, rather than a path. */
const isAddress = (text: string): boolean => /^(?:file:|[a-z][a-z0-9+.-]+:\/\/)/i.test(text);

/**
 * The path that is meant, in hosts with files: a path as it stands, or the address of a file, also as text.
 * @throws E_ARGUMENT for any other address, which would make a folder named `https:`, and for files of other machines
 */
export async function pathOf(given: string | URL): Promise<string> {
  if (typeof given === 'string' && !isAddress(given)) return given;
  const { fileURLToPath } = await import('node:url');
  try {
    return fileURLToPath(given);
  } catch (cause) {
    throw new EspalierError(
      'E_ARGUMENT',
      `${shown(String(given))} is no address of a file on this machine.`,
      'Give a path, or the file URL of one.',
      { cause },
    );
  }
}
