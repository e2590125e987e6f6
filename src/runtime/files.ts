import { EspalierError } from '../errors.ts';
import type { ByteSource, ModelFiles } from './source.ts';

/** What a caller may hand over as a model: a path or file URL (Node and Deno), one GGUF file's bytes, or a folder by name. */
export type ModelTarget = string | URL | Uint8Array | Blob | Readonly<Record<string, Uint8Array | Blob>>;

/**
 * Opens a model wherever it lies. A path may name a folder, a `.gguf` file, or a `.safetensors` file (then its folder is
 * opened and that file preferred). Bytes and a Blob are one GGUF file; a record is a folder, file name to content.
 *
 * @throws E_FILE_NOT_FOUND when a path does not exist; E_FILE_READ when the host refuses; E_ARGUMENT for anything else
 */
export async function openModelFiles(target: ModelTarget): Promise<ModelFiles> {
  if (target instanceof Uint8Array || isBlob(target)) return singleFile(nameOf(target) ?? 'model.gguf', target);
  if (typeof target === 'string' || target instanceof URL) return openPath(target);
  if (typeof target === 'object' && target !== null) return record(target);
  throw new EspalierError(
    'E_ARGUMENT',
    'A model is a path, a file URL, bytes, a Blob, or an object of bytes or Blobs by file name.',
    'Pass one of these.',
  );
}

async function openPath(target: string | URL): Promise<ModelFiles> {
  const url = target instanceof URL ? target : /^[a-z][a-z0-9+.-]+:\/\//i.test(target) ? new URL(target) : null;
  if (url !== null && url.protocol !== 'file:') {
    throw new EspalierError(
      'E_ARGUMENT',
      `Models are not fetched from ${url.protocol} addresses here.`,
      'Fetch the files and pass their bytes or Blobs by name.',
    );
  }
  if (!hasNodeFiles()) {
    throw new EspalierError(
      'E_ARGUMENT',
      'This host has no file system, so a path cannot be opened.',
      'Pass bytes or Blobs by file name.',
    );
  }
  // only now, so that the graph of modules stays free of node: imports in a browser
  const node = await import('./node.ts');
  return node.openPath(url ?? (target as string));
}

/** Node, Deno and Bun all say which Node they are compatible with. */
function hasNodeFiles(): boolean {
  const { process } = globalThis as { process?: { versions?: { node?: string } } };
  return typeof process?.versions?.node === 'string';
}

function singleFile(name: string, content: Uint8Array | Blob): ModelFiles {
  return { name, names: [name], open: async (wanted) => openMember(name, { [name]: content }, wanted) };
}

function record(content: Readonly<Record<string, Uint8Array | Blob>>): ModelFiles {
  const names = Object.keys(content);
  for (const name of names) {
    if (content[name] instanceof Uint8Array || isBlob(content[name])) continue;
    throw new EspalierError('E_ARGUMENT', `The content of ${name} is neither bytes nor a Blob.`, 'Pass one of these.');
  }
  return { name: 'model', names, open: async (wanted) => openMember('model', content, wanted) };
}

function openMember(folder: string, content: Readonly<Record<string, Uint8Array | Blob>>, name: string): ByteSource {
  const member = Object.hasOwn(content, name) ? content[name] : undefined;
  if (member === undefined) throw notFound(name, folder);
  return member instanceof Uint8Array ? bytesSource(name, member) : blobSource(name, member);
}

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

/** The whole of a small file. @throws E_CHECKPOINT_HEADER when it has more than `maxBytes` */
export async function readWhole(source: ByteSource, maxBytes: number): Promise<Uint8Array> {
  if (source.size > maxBytes) {
    throw new EspalierError(
      'E_CHECKPOINT_HEADER',
      `${source.name} has ${source.size} bytes; at most ${maxBytes} are read.`,
      'Check that this is the right file.',
    );
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

function isBlob(value: unknown): value is Blob {
  return typeof Blob !== 'undefined' && value instanceof Blob;
}

function nameOf(content: Uint8Array | Blob): string | undefined {
  return 'name' in content && typeof content.name === 'string' && content.name !== '' ? content.name : undefined;
}
