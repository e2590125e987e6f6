import type { Readable } from 'node:stream';
import { EspalierError } from '../../errors.ts';

/** Where progress is written: `process.stderr`, or a stand-in in tests. */
export interface ProgressTarget {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

/** What a command reads and writes: the process's own, or a test's. */
export interface Io {
  /** What was asked for. */
  out(text: string): void;
  /** What is said beside it. */
  err(text: string): void;
  /** All of standard input, as text. @throws E_ARGUMENT when it is none; E_ABORTED */
  input(signal: AbortSignal): Promise<string>;
  /** Columns of the terminal that `out` goes to; 80 where that is none. */
  readonly columns: number;
  /** Whether colours are wanted in what `out` writes: it is a terminal, and NO_COLOR (no-color.org) is not set. */
  readonly colours: boolean;
  /** Of the one that `err` goes to; null where that is none, and lines are left as they are. */
  readonly errorColumns: number | null;
}

/** Most bytes of standard input. */
const MOST = 256 << 20;

export const processIo: Io = {
  out: (text) => put(process.stdout, text),
  err: (text) => put(process.stderr, text),
  get columns() {
    return process.stdout.columns || 80;
  },
  get colours() {
    return process.stdout.isTTY === true && !process.env['NO_COLOR'] && process.env['TERM'] !== 'dumb';
  },
  get errorColumns() {
    return process.stderr.isTTY ? process.stderr.columns || 80 : null;
  },
  input: (signal) => textOf(process.stdin, signal),
};

/** Deno throws what Node says by an event. */
function put(stream: NodeJS.WriteStream, text: string): void {
  try {
    stream.write(text);
  } catch (error) {
    stream.emit('error', error);
  }
}

/** All of a stream, as text. @throws E_ARGUMENT when it is none or too long; E_ABORTED, whatever the stream waits for */
export async function textOf(stream: Readable, signal: AbortSignal): Promise<string> {
  const stop = () => {
    const again = 'Start it again when it is wanted.';
    stream.destroy(new EspalierError('E_ABORTED', 'The operation was aborted.', again, { cause: signal.reason }));
  };
  if (signal.aborted) stop();
  signal.addEventListener('abort', stop);
  const parts: Uint8Array[] = [];
  let bytes = 0;
  try {
    for await (const part of stream as AsyncIterable<Uint8Array>) {
      bytes += part.byteLength;
      if (bytes > MOST)
        throw new EspalierError('E_ARGUMENT', 'Standard input is longer than 256 MiB.', 'Give less text.');
      parts.push(part);
    }
  } finally {
    signal.removeEventListener('abort', stop);
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(parts));
  } catch (cause) {
    throw new EspalierError('E_ARGUMENT', 'Standard input is no UTF-8 text.', 'Convert it first.', { cause });
  }
}
