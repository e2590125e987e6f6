import { EspalierError } from '../../errors.ts';
import { beside } from './beside.ts';

/** Models that are in the package, by name: folders beside the code, in the sources as in `dist/`. */
const FOLDERS: Readonly<Record<string, string>> = { tiny: '../../../models/nano-base/' };

const SCHEME = 'espalier:';
const here: string = import.meta.url;

/** Whether a target names a model of the package (`espalier:tiny`). */
export function isBundled(target: string): boolean {
  return target.startsWith(SCHEME);
}

/**
 * Where a model of the package lies: a file address in Node, Deno and Bun, one of the web in a page.
 * @throws E_ARGUMENT for another name; E_FILE_NOT_FOUND where a bundler has parted the code from the package
 */
export function bundledModel(target: string, readsFiles: boolean): URL {
  const name = target.slice(SCHEME.length);
  if (!Object.hasOwn(FOLDERS, name)) {
    const names = Object.keys(FOLDERS).map((known) => SCHEME + known);
    throw new EspalierError(
      'E_ARGUMENT',
      `There is no model ${target} in the package.`,
      `There is ${names.join(', ')}.`,
    );
  }
  const address = URL.canParse(FOLDERS[name]!, here) ? beside(FOLDERS[name]!, here) : null;
  if (address !== null && (readsFiles || address.protocol !== 'file:')) return address;
  throw new EspalierError(
    'E_FILE_NOT_FOUND',
    `${target} is in the package, which is not beside a bundled app.`,
    'Serve a copy of the package’s folder dist/models/nano-base, and open its address, with a slash at the end.',
  );
}
