import { EspalierError } from '../../errors.ts';
import { tooLarge } from './file-limits.ts';
import type { ByteSource } from './source.ts';

/** A file of bytes in memory. */
export function bytesSource(name: string, bytes: Uint8Array): ByteSource {
  return {
    name,
    size: bytes.byteLength,
    readInto: async (offset, target) => {
      checkRange(name, bytes.byteLength, offset, target.byteLength);
      target.set(bytes.subarray(offset, offset + target.byteLength));
    },
    close: async () => {},
  };
}

/** A file that a Blob holds, read piece by piece. */
export function blobSource(name: string, blob: Blob): ByteSource {
  return {
    name,
    size: blob.size,
    readInto: async (offset, target) => {
      checkRange(name, blob.size, offset, target.byteLength);
      let bytes: Uint8Array;
      try {
        bytes = new Uint8Array(await blob.slice(offset, offset + target.byteLength).arrayBuffer());
      } catch (cause) {
        throw readFailed(name, cause);
      }
      if (bytes.byteLength !== target.byteLength) throw truncated(name, blob.size, offset + target.byteLength);
      target.set(bytes);
    },
    close: async () => {},
  };
}

/** A loop: matrices are compared by it, and a callback a byte would cost more than reading them. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.byteLength !== b.byteLength) return false;
  for (let i = 0; i < a.byteLength; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** The whole of a small file. @throws E_CHECKPOINT_HEADER when it has more than `maxBytes` */
export async function readWhole(source: ByteSource, maxBytes: number): Promise<Uint8Array> {
  if (source.size > maxBytes) {
    throw tooLarge(source.name, source.size, maxBytes);
  }
  const bytes = new Uint8Array(source.size);
  await source.readInto(0, bytes);
  return bytes;
}

/** @throws E_CHECKPOINT_TRUNCATED unless `length` bytes from `offset` on lie inside the file */
export function checkRange(name: string, size: number, offset: number, length: number): void {
  if (!(Number.isSafeInteger(offset) && offset >= 0)) {
    throw new EspalierError(
      'E_ARGUMENT',
      `${offset} is not an offset in ${name}.`,
      'Offsets are whole numbers from 0.',
    );
  }
  if (length > size - offset) throw truncated(name, size, offset + length);
}

export function truncated(name: string, size: number, wanted: number): EspalierError {
  return new EspalierError(
    'E_CHECKPOINT_TRUNCATED',
    `${name} ends after ${size} bytes; ${wanted} are needed.`,
    'Download or copy the file again.',
  );
}

export function readFailed(name: string, cause: unknown): EspalierError {
  return new EspalierError('E_FILE_READ', `${name} could not be read.`, 'Check permissions and the storage.', {
    cause,
  });
}

export function notFound(name: string, folder: string, cause?: unknown): EspalierError {
  return new EspalierError('E_FILE_NOT_FOUND', `There is no ${name} in ${folder}.`, 'Check the path and the name.', {
    cause,
  });
}

/** Whether a buffer was moved elsewhere: what looks at it is empty, and Node 20 loses a message that holds it without a word. */
export function isDetached(buffer: ArrayBufferLike): boolean {
  if (!(buffer instanceof ArrayBuffer) || buffer.byteLength > 0) return false;
  try {
    new Uint8Array(buffer); // `detached` is younger than Node 20
    return false;
  } catch {
    return true;
  }
}
