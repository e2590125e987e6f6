import type { OutputFile } from '../../runtime/output/output.ts';

/**
 * How far a checkpoint has been written: lines of JSON, `["checksum",{…}]`, that are only ever appended. A line that was cut or
 * damaged, and all behind it, count for nothing.
 *
 * A process that is killed loses nothing that it has handed to the system, so its groups count; when the machine itself went down,
 * only those count that a later line says to be synced.
 */

/** Raised when lines mean something else. */
export const FORMAT = 2;

/** A group that is written as a whole. */
export interface JournalGroup {
  readonly name: string;
  /** Bytes of all files up to its end. */
  readonly position: number;
  readonly record: unknown;
  /** Digest of the bytes of its tensors, one behind the other (`ByteDigest`). */
  readonly sum: string;
}

export type JournalLine =
  | { readonly format: typeof FORMAT; readonly identity: string; readonly job?: string }
  /** A run begins, behind so many groups; those after them do not count any more. */
  | { readonly boot: string; readonly from: number }
  | { readonly done: JournalGroup }
  /** The first so many groups outlive a power failure. */
  | { readonly synced: number };

export interface JournalContent {
  readonly identity: string;
  /** What writes, where it says: see `WriteOptions.job`. */
  readonly job: string | null;
  /** Those that count. */
  readonly groups: readonly JournalGroup[];
  /** Bytes of the lines that are whole. */
  readonly length: number;
}

/**
 * Reads a journal; null when not even its first line is whole.
 * @param survived whether what was written under a boot and not synced is still there
 */
export function readJournal(bytes: Uint8Array, survived: (boot: string) => boolean): JournalContent | null {
  const groups: (JournalGroup & { readonly boot: string })[] = [];
  let identity: string | null = null;
  let job: string | null = null;
  let boot = '';
  let synced = 0;
  let length = 0;
  for (let end = bytes.indexOf(0x0a); end >= 0; end = bytes.indexOf(0x0a, length)) {
    const line = parseLine(bytes.subarray(length, end));
    if (line === null || (identity === null) !== 'format' in line) break;
    if ('format' in line) {
      identity = line.identity;
      job = line.job ?? null;
    } else if ('boot' in line) {
      boot = line.boot;
      groups.length = Math.min(groups.length, line.from);
      synced = Math.min(synced, line.from);
    } else if ('done' in line) groups.push({ ...line.done, boot });
    else synced = line.synced;
    length = end + 1;
  }
  if (identity === null) return null;
  const lost = groups.findIndex((group, i) => i >= synced && !survived(group.boot));
  return { identity, job, groups: lost < 0 ? groups : groups.slice(0, lost), length };
}

/** Whether it is a journal of another version, whose lines mean what is not known here. */
export function isOfAnotherFormat(bytes: Uint8Array): boolean {
  const end = bytes.indexOf(0x0a);
  const { format } = (end < 0 ? null : parseJson(bytes.subarray(0, end))) ?? {};
  return Number.isSafeInteger(format) && format !== FORMAT;
}

function parseLine(bytes: Uint8Array): JournalLine | null {
  const line = parseJson(bytes);
  return line !== null && isLine(line) ? line : null;
}

/** What stands in a line, if it is whole. */
function parseJson(bytes: Uint8Array): Readonly<Record<string, unknown>> | null {
  const text = new TextDecoder().decode(bytes);
  const parts = /^\["([0-9a-f]{8})",(\{.*\})\]$/s.exec(text);
  if (!parts || parts[1] !== checksum(parts[2]!)) return null;
  try {
    return JSON.parse(parts[2]!);
  } catch {
    return null;
  }
}

/** Whether a line says something: a checksum is easily made by whoever edits it. */
function isLine(line: Readonly<Record<string, unknown>>): line is JournalLine {
  const { format, identity, job = '', boot, from, done, synced } = line;
  const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;
  if (format !== undefined) return format === FORMAT && typeof identity === 'string' && typeof job === 'string';
  if (boot !== undefined) return typeof boot === 'string' && isCount(from);
  if (done === undefined) return isCount(synced);
  const { name, position, sum, record } = (done ?? {}) as Record<string, unknown>;
  return typeof name === 'string' && isCount(position) && typeof sum === 'string' && record !== undefined;
}

export function encodeLine(line: JournalLine): Uint8Array {
  const json = JSON.stringify(line);
  return new TextEncoder().encode(`["${checksum(json)}",${json}]\n`);
}

/** FNV-1a of 32 bits over UTF-16 units, both bytes of each. */
function checksum(text: string): string {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    hash = Math.imul(hash ^ (unit & 0xff), 0x01000193);
    hash = Math.imul(hash ^ (unit >> 8), 0x01000193);
  }
  return (hash >>> 0).toString(16).padStart(8, '0');
}

/** Appends lines, one after the other whoever calls. */
export class Journal {
  readonly #file: OutputFile;
  #last: Promise<void> = Promise.resolve();

  constructor(file: OutputFile) {
    this.#file = file;
  }

  append(line: JournalLine): Promise<void> {
    const next = this.#last.then(() => this.#file.write(encodeLine(line)));
    this.#last = next;
    next.catch(() => {}); // the caller has it, and so has the next one
    return next;
  }

  sync(): Promise<void> {
    return this.#file.sync();
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}
