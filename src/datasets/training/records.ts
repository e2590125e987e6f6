import { EspalierError, throwIfAborted } from '../../errors.ts';
import type { ByteSource } from '../../runtime/files/source.ts';
import { Pace } from '../../runtime/host/yielding.ts';
import type { TrainingFormat } from './types.ts';

/** A stretch of a file that is read by itself: a line, a row, a paragraph, a piece of a text. */
export interface RawRecord {
  /** Valid until the next one. */
  readonly bytes: Uint8Array;
  /** Byte of the file at which it begins. */
  readonly offset: number;
  /** From 1. */
  readonly line: number;
}

/** Bytes that are read at a time. */
const CHUNK = 1 << 20;
/** Most bytes of one record: of what is longer, a line end is missing, or a quotation mark too many. */
export const MOST_RECORD = 1 << 24;

const LF = 0x0a;
const QUOTE = 0x22;
const SPACE = 0x20;

/**
 * The end of the record that begins at `from`, behind what ends it; -1 where more must be read to know.
 * @param whole whether the file ends where `bytes` do
 */
type Cut = (bytes: Uint8Array, from: number, whole: boolean) => number;

function cutLine(bytes: Uint8Array, from: number, whole: boolean): number {
  const at = bytes.indexOf(LF, from);
  return at >= 0 ? at + 1 : whole ? bytes.length : -1;
}

/** A row of CSV (RFC 4180): a line end between quotation marks does not end it; one written twice opens and closes nothing. */
function cutRow(bytes: Uint8Array, from: number, whole: boolean): number {
  let open = false;
  for (let i = from; i < bytes.length; i++) {
    if (bytes[i] === QUOTE) open = !open;
    else if (bytes[i] === LF && !open) return i + 1;
  }
  return whole ? bytes.length : -1;
}

/** Up to and with the first blank line. One in front of a paragraph is a record of its own, which holds nothing. */
function cutParagraph(bytes: Uint8Array, from: number, whole: boolean): number {
  let blank = true;
  for (let i = from; i < bytes.length; i++) {
    if (bytes[i]! > SPACE) blank = false;
    else if (bytes[i] === LF) {
      if (blank) return i + 1;
      blank = true;
    }
  }
  return whole ? bytes.length : -1;
}

/** About `length` bytes: behind the last line end in them, else before the last space, else between two characters. */
const cutPiece =
  (length: number): Cut =>
  (bytes, from, whole) => {
    if (from + length >= bytes.length) return whole ? bytes.length : -1;
    let end = from + length;
    const line = bytes.lastIndexOf(LF, end - 1);
    if (line > from) return line + 1;
    const space = bytes.lastIndexOf(SPACE, end);
    if (space > from) return space;
    while (end > from + 1 && (bytes[end]! & 0xc0) === 0x80) end--;
    return end;
  };

function cutOf(format: TrainingFormat, pieceLength: number): Cut {
  switch (format) {
    case 'jsonl':
    case 'tsv':
    case 'lines':
      return cutLine;
    case 'csv':
      return cutRow;
    case 'paragraphs':
      return cutParagraph;
    case 'text':
      return cutPiece(pieceLength);
    default:
      return format satisfies never;
  }
}

export interface ScanOptions {
  readonly format: TrainingFormat;
  /** Of the format `text`. */
  readonly pieceLength: number;
  readonly signal?: AbortSignal | undefined;
  /** Called with each chunk, in order, and waited for. */
  readonly onChunk: (bytes: Uint8Array) => Promise<void>;
  readonly onRecord: (record: RawRecord) => void;
}

/**
 * Reads a file from its beginning to its end, a chunk at a time, and cuts it into records; a byte order mark belongs to none.
 * @throws E_DATA_INVALID for a record beyond 16 MiB; E_FILE_READ, E_ABORTED
 */
export async function scanRecords(source: ByteSource, options: ScanOptions): Promise<void> {
  const { size, name } = source;
  const cut = cutOf(options.format, options.pieceLength);
  let room = new Uint8Array(Math.min(size, 2 * CHUNK));
  /** Bytes in `room`, and the byte of the file at which they begin. */
  let held = 0;
  let base = 0;
  let line = 1;
  const pace = new Pace();
  for (let read = 0; read < size; ) {
    await pace.breathe();
    throwIfAborted(options.signal);
    const count = Math.min(CHUNK, size - read);
    if (held + count > room.length) {
      const grown = new Uint8Array(Math.max(2 * room.length, held + count));
      grown.set(room.subarray(0, held));
      room = grown;
    }
    await source.readInto(read, room.subarray(held, held + count));
    await options.onChunk(room.subarray(held, held + count));
    read += count;
    held += count;
    const bytes = room.subarray(0, held);
    let from = base === 0 && startsWithMark(bytes) ? 3 : 0;
    while (from < held) {
      const end = cut(bytes, from, read === size);
      if (end < 0) break;
      if (end - from > MOST_RECORD) throw tooLong(name, line);
      const record = bytes.subarray(from, end);
      options.onRecord({ bytes: record, offset: base + from, line });
      line += linesIn(record);
      from = end;
    }
    if (held - from > MOST_RECORD) throw tooLong(name, line);
    room.copyWithin(0, from, held);
    base += from;
    held -= from;
  }
}

const startsWithMark = (bytes: Uint8Array): boolean => bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;

function linesIn(bytes: Uint8Array): number {
  let lines = 0;
  for (let at = bytes.indexOf(LF); at >= 0; at = bytes.indexOf(LF, at + 1)) lines++;
  return lines;
}

function tooLong(name: string, line: number): EspalierError {
  return new EspalierError(
    'E_DATA_INVALID',
    `${name}, line ${line}: what begins here has more than ${MOST_RECORD >> 20} MiB.`,
    'Is a line end or a quotation mark missing, or is the file of another format?',
  );
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The text of a record. @throws E_DATA_INVALID for what is no UTF-8, and for U+0000, which is no text */
export function textOfRecord(name: string, { bytes, line }: Pick<RawRecord, 'bytes' | 'line'>): string {
  if (bytes.includes(0)) {
    throw invalid(name, line, 'there is a NUL character', 'Is it a UTF-16 or a binary file? Convert it to UTF-8.');
  }
  try {
    return decoder.decode(bytes);
  } catch (cause) {
    throw invalid(name, line + linesBefore(bytes), 'this is not UTF-8', 'Convert the file.', cause);
  }
}

/** Lines of a record before the first that is no UTF-8. */
function linesBefore(bytes: Uint8Array): number {
  for (let from = 0, line = 0; from < bytes.length; line++) {
    const end = cutLine(bytes, from, true);
    try {
      decoder.decode(bytes.subarray(from, end));
    } catch {
      return line;
    }
    from = end;
  }
  return 0;
}

export function invalid(name: string, line: number, what: string, hint: string, cause?: unknown): EspalierError {
  return new EspalierError('E_DATA_INVALID', `${name}, line ${line}: ${what}.`, hint, { cause });
}
