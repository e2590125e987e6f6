import { EspalierError } from '../../errors.ts';
import { openRegular } from '../files/regular-file.ts';
import { bootOf, isSameBoot } from './machine-start.ts';

/** Of a lock that cannot be read, in milliseconds: younger ones may still be being written. */
const STALE = 30_000;

/** Behind a lock's name: nonces of dead locks that are taken over, one behind the other. */
const LEFT = /^(?:[0-9a-f]{8}|damaged-\d+)(?:\.(?:[0-9a-f]{8}|damaged-\d+))*$/;

/** Who holds a lock: the content of its file. */
interface Owner {
  readonly host: string;
  /** The start of the machine, see `bootOf`. */
  readonly boot: string;
  readonly pid: number;
  /** When the process was started, in the system's own units: numbers of processes are used again. Empty when it does not say. */
  readonly started: string;
  /** The thread of the process, see `lockAs`. */
  readonly thread?: string;
  /** Distinguishes this lock from all others. */
  readonly nonce: string;
}

export interface Lock {
  release(): Promise<void>;
}

let thread: string | undefined;
let gone: ReadonlySet<string> = new Set();

/**
 * In a worker: the name under which it takes locks, and those of workers of the same process that were ended in the middle of their work. The
 * process lives, but they will not release theirs.
 */
export function lockAs(name: string, ended: readonly string[]): void {
  thread = name;
  gone = new Set(ended);
}

type Fs = typeof import('node:fs/promises');

/**
 * Takes the lock that a file of this path stands for; `what` says for messages what it guards. The lock of a dead process is taken
 * over.
 *
 * @throws E_ARGUMENT when somebody else has it; what the file system throws
 */
export async function lock(path: string, what: string): Promise<Lock> {
  const fs = await import('node:fs/promises');
  const { hostname } = await import('node:os');
  const { pid } = await import('node:process');
  let host = '';
  try {
    host = hostname();
  } catch {
    // Deno asks for a permission; the start of the machine tells machines apart as well
  }
  const own = {
    host,
    boot: await bootOf(),
    pid,
    started: await startOf(fs, 'self'),
    ...(thread && { thread }),
    nonce: random(),
  };
  return acquire(fs, path, own, what);
}

async function acquire(fs: Fs, path: string, own: Owner, what: string): Promise<Lock> {
  // again only when the file disappears between two looks at it, because its owner has finished
  for (let round = 0; round < 10; round++) {
    if (await create(fs, path, own)) return { release: () => release(fs, path, own) };
    const found = await read(path);
    if (found === null) continue;
    if (found.live || (found.owner && (await isLive(fs, found.owner, own)))) throw busy(path, what, found.owner);
    // Of several that find the same dead lock, one gets the lock of its nonce, which may have to be taken over likewise. Only that
    // one may replace the file, and it looks again, since another may have done it in between.
    const over = await acquire(fs, `${path}.${found.nonce}`, own, what);
    try {
      if ((await read(path))?.nonce !== found.nonce) continue;
      const fresh = `${path}.${own.nonce}`;
      await fs.writeFile(fresh, JSON.stringify(own));
      await fs.rename(fresh, path);
    } finally {
      await over.release();
    }
    await clear(fs, path).catch(() => {});
    return { release: () => release(fs, path, own) };
  }
  throw busy(path, what, null);
}

/**
 * Removes what others left that were ended in the middle of taking this lock over. Nobody needs it: who is about to replace a dead lock's file holds the lock
 * of its nonce, and that file is ours and alive.
 */
async function clear(fs: Fs, path: string): Promise<void> {
  const { basename, dirname } = await import('node:path');
  const mine = `${basename(path)}.`;
  for (const name of await fs.readdir(dirname(path))) {
    if (!name.startsWith(mine) || !LEFT.test(name.slice(mine.length))) continue;
    await fs.rm(`${dirname(path)}/${name}`, { force: true });
  }
}

/** False when the file is there already. */
async function create(fs: Fs, path: string, own: Owner): Promise<boolean> {
  const file = await fs.open(path, 'wx').catch((cause) => {
    if (cause?.code === 'EEXIST') return null;
    throw cause;
  });
  if (!file) return false;
  try {
    await file.writeFile(JSON.stringify(own));
  } catch (cause) {
    await file.close();
    await fs.rm(path, { force: true });
    throw cause;
  }
  await file.close();
  return true;
}

async function release(fs: Fs, path: string, own: Owner): Promise<void> {
  // somebody may have removed it by hand, and another taken it
  if ((await read(path))?.nonce === own.nonce) await fs.rm(path, { force: true });
}

interface Found {
  /** Null when the file cannot be understood. */
  readonly owner: Owner | null;
  readonly nonce: string;
  /** It may be that its owner is just writing it. */
  readonly live: boolean;
}

/** Null when there is none. */
async function read(path: string): Promise<Found | null> {
  let text: string;
  let modified: number;
  try {
    const file = await openRegular(path, { flags: 'r' });
    try {
      text = await file.readFile('utf8');
      modified = (await file.stat()).mtimeMs;
    } finally {
      await file.close();
    }
  } catch (cause) {
    if ((cause as { code?: unknown }).code === 'ENOENT') return null;
    throw cause;
  }
  try {
    const owner = JSON.parse(text) as Owner;
    if (/^[0-9a-f]{8}$/.test(owner.nonce) && Number.isSafeInteger(owner.pid)) {
      return { owner, nonce: owner.nonce, live: false };
    }
  } catch {
    // its owner was ended while writing it
  }
  return { owner: null, nonce: `damaged-${Math.round(modified)}`, live: Date.now() - modified < STALE };
}

/** Whether the owner still runs; when in doubt it does. */
async function isLive(fs: Fs, { host, boot, pid, started, thread }: Owner, own: Owner): Promise<boolean> {
  if (host !== own.host) return true; // nothing is known of other machines
  if (thread !== undefined && gone.has(thread)) return false; // the name is random
  if (boot !== '' && own.boot !== '' && !isSameBoot(boot, own.boot)) return false;
  try {
    process.kill(pid, 0);
  } catch (cause) {
    if ((cause as { code?: unknown }).code === 'ESRCH') return false;
  }
  const now = await startOf(fs, String(pid));
  return started === '' || now === '' || now === started;
}

/** When a process was started: field 22 of what Linux tells of it. */
async function startOf(fs: Fs, process: string): Promise<string> {
  const text = await fs.readFile(`/proc/${process}/stat`, 'utf8').catch(() => '');
  // the second field is the program's name in parentheses, with whatever it contains
  return text.slice(text.lastIndexOf(')') + 2).split(' ')[19] ?? '';
}

function busy(path: string, what: string, owner: Owner | null): EspalierError {
  const who = owner ? `Process ${owner.pid}${owner.host ? ` on ${owner.host}` : ''}` : 'Another process';
  return new EspalierError(
    'E_ARGUMENT',
    `${who} is writing ${what}.`,
    `Wait for it or choose another folder. If there is no such process, remove ${path}.`,
  );
}

function random(): string {
  return crypto.randomUUID().slice(0, 8);
}
