import { EspalierError } from '../../errors.ts';

type Fs = typeof import('node:fs/promises');
type FileHandle = Awaited<ReturnType<Fs['open']>>;
type Kind = Pick<
  import('node:fs').Stats,
  'isFile' | 'isDirectory' | 'isFIFO' | 'isSocket' | 'isSymbolicLink' | 'nlink'
>;

export interface OpenRegular {
  readonly flags: 'r' | 'r+' | 'w' | 'wx' | 'wx+' | 'a+';
  /** Whether links are followed; default: they are refused, and so is a file that has other names. */
  readonly follow?: boolean;
}

/**
 * Opens a file that is one. What else can stand under a name is looked at before it is opened: opening a named pipe waits for
 * somebody at its other end, a device never ends or does something.
 *
 * @throws E_FILE_READ, where it is to be written E_FILE_WRITE, that says what it is; what the file system throws
 */
export async function openRegular(path: string, { flags, follow = false }: OpenRegular): Promise<FileHandle> {
  const fs = await import('node:fs/promises');
  const isWritten = flags !== 'r';
  const check = (info: Kind): void => {
    checkRegular(path, info, isWritten);
    // what is written under one of a file's names would change it under the others
    if (isWritten && !follow && info.nlink > 1) throw irregular(path, 'a file that has other names', isWritten);
  };
  const there = await (follow ? fs.stat(path) : fs.lstat(path)).catch((cause) => {
    if (cause?.code === 'ENOENT' && !flags.startsWith('r')) return null;
    throw cause;
  });
  if (there) check(there);
  // somebody may put something else there in between
  const file = await fs.open(path, await safely(flags, follow));
  try {
    check(await file.stat());
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** @throws E_FILE_READ, where it is to be written E_FILE_WRITE */
export function checkRegular(path: string, info: Kind, isWritten = false): void {
  if (!info.isFile()) throw irregular(path, kindOf(info), isWritten);
}

/** What stands under a name that is no regular file, with its article. */
export function kindOf(info: Kind): string {
  if (info.isDirectory()) return 'a folder';
  if (info.isSymbolicLink()) return 'a link';
  if (info.isFIFO()) return 'a named pipe';
  return info.isSocket() ? 'a socket' : 'a device';
}

function irregular(path: string, what: string, isWritten: boolean): EspalierError {
  const code = isWritten ? 'E_FILE_WRITE' : 'E_FILE_READ';
  // nobody shall be told to remove a folder or a device
  const other = what === 'a folder' || what === 'a device' ? 'Give another name.' : 'Remove it.';
  return new EspalierError(code, `${path} is ${what}.`, isWritten ? other : 'Put a regular file there.');
}

/** The flags as numbers: nothing is waited for, and where that is asked links are not followed. */
async function safely(flags: OpenRegular['flags'], follow: boolean): Promise<string | number> {
  // Deno opens by words alone; what was looked at before has to do
  if ('Deno' in globalThis) return flags;
  const { constants } = await import('node:fs');
  const { O_RDONLY, O_RDWR, O_WRONLY, O_CREAT, O_TRUNC, O_EXCL, O_APPEND } = constants;
  const base = {
    r: O_RDONLY,
    'r+': O_RDWR,
    w: O_WRONLY | O_CREAT | O_TRUNC,
    wx: O_WRONLY | O_CREAT | O_EXCL,
    'wx+': O_RDWR | O_CREAT | O_EXCL,
    'a+': O_RDWR | O_CREAT | O_APPEND,
  }[flags];
  // Windows has neither
  return base | (constants.O_NONBLOCK ?? 0) | (follow ? 0 : (constants.O_NOFOLLOW ?? 0));
}
