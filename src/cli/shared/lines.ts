import { openSource } from '../../datasets/source.ts';
import { EspalierError } from '../../errors.ts';
import type { Io } from './io.ts';

/** Most bytes of a file of lines. */
const MOST = 256 << 20;

/** Lines of a UTF-8 file, or with `-` of standard input; CRLF ends one as well. @throws E_FILE_NOT_FOUND, E_FILE_READ, E_DATA_INVALID */
export async function readLines(path: string, io: Io, signal: AbortSignal): Promise<string[]> {
  const text = path === '-' ? await io.input(signal) : await textOfFile(path);
  const lines = text.split('\n').map((line) => (line.endsWith('\r') ? line.slice(0, -1) : line));
  if (lines.at(-1) === '') lines.pop();
  if (lines.length > 0) return lines;
  throw new EspalierError(
    'E_DATA_INVALID',
    `${path === '-' ? 'Standard input' : path} is empty.`,
    'Give a text a line.',
  );
}

async function textOfFile(path: string): Promise<string> {
  const source = await openSource(path);
  try {
    if (source.size > MOST) {
      throw new EspalierError('E_DATA_INVALID', `${path} has ${source.size} bytes.`, `Give at most ${MOST}.`);
    }
    const bytes = new Uint8Array(source.size);
    await source.readInto(0, bytes);
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    if (cause instanceof EspalierError) throw cause;
    throw new EspalierError('E_DATA_INVALID', `${path} is not UTF-8.`, 'Convert the file.', { cause });
  } finally {
    await source.close();
  }
}
