import { EspalierError } from '../../errors.ts';
import { hasNode } from '../host/types.ts';
import { addressOf, hubName } from '../hub/address.ts';
import { openHub } from '../hub/hub.ts';
import type { FilesOptions } from '../hub/options.ts';
import type { FilesKind } from '../hub/remote-files.ts';
import { endpointOf, openSession } from '../hub/session.ts';
import { openWeb } from '../hub/web.ts';
import { bundledModel, isBundled } from './bundled-model.ts';
import { blobSource, bytesSource, notFound } from './bytes.ts';
import type { ByteSource, ModelFiles } from './source.ts';

export { blobSource, bytesSource, checkRange, notFound, readFailed, readWhole, truncated } from './bytes.ts';

/**
 * What a caller may hand over as a model: a path or file URL (Node, Deno and Bun), a model of the hub (`owner/name`,
 * `owner/name@revision`, `hf://owner/name@revision/file.gguf`), the model in the package (`espalier:tiny`), an http or https address, one
 * GGUF file's bytes, or a folder by name.
 */
export type ModelTarget = string | URL | Uint8Array | Blob | Readonly<Record<string, Uint8Array | Blob>>;

/**
 * Opens a model wherever it lies. A path may name a folder, a `.gguf` file, or a `.safetensors` file (then its folder is
 * opened and that file preferred); an address the same, a folder's ends with a slash. `owner/name` is a model of the hub unless it is
 * a path. Bytes and a Blob are one GGUF file; a record is a folder, file name to content. What is downloaded is kept in the cache:
 * small files at once, weights when they are opened.
 *
 * @param kind what is wanted of what lies on a server
 * @throws E_FILE_NOT_FOUND when a path does not exist; E_FILE_READ when the host refuses; E_ARGUMENT for anything else; for the hub
 *   and addresses also E_OFFLINE, E_DOWNLOAD, E_DOWNLOAD_CORRUPT, E_STORAGE_FULL, E_FILE_WRITE, E_ABORTED
 */
export async function openModelFiles(
  target: ModelTarget,
  options: FilesOptions = {},
  kind: FilesKind = 'model',
): Promise<ModelFiles> {
  if (target instanceof Uint8Array || isBlob(target)) {
    return singleFile(nameOf(target) ?? (kind === 'model' ? 'model.gguf' : kind), target);
  }
  if (typeof target === 'string' || target instanceof URL) return openNamed(target, options, kind);
  if (typeof target === 'object' && target !== null) return record(target, kind);
  throw new EspalierError(
    'E_ARGUMENT',
    'A model is a path, an address, owner/name, bytes, a Blob, or an object of bytes or Blobs by file name.',
    'Pass one of these.',
  );
}

async function openNamed(target: string | URL, options: FilesOptions, kind: FilesKind): Promise<ModelFiles> {
  const text = target instanceof URL ? target.href : target;
  if (isBundled(text)) {
    const files = await openNamed(bundledModel(text, hasNode()), options, kind);
    return { name: text, names: files.names, preferred: files.preferred, open: (name) => files.open(name) };
  }
  if (/^[a-z][a-z0-9+.-]+:\/\//i.test(text) && !/^file:/i.test(text)) {
    const address = addressOf(text, endpointOf(options.hub));
    const session = await openSession(options);
    return address.kind === 'hub' ? openHub(address, session, kind) : openWeb(address, session, kind);
  }
  const onHub = typeof target === 'string' ? hubName(target) : null;
  if (!hasNode()) {
    if (onHub) return openHub(onHub, await openSession(options), kind);
    throw new EspalierError(
      'E_ARGUMENT',
      'This host has no file system, so a path cannot be opened.',
      'Pass owner/name, an http or https address, or bytes or Blobs by file name.',
    );
  }
  // only now, so that the graph of modules stays free of node: imports in a browser
  const node = await import('./paths.ts');
  try {
    return await node.openPath(text);
  } catch (error) {
    if (!onHub || !(error instanceof EspalierError) || error.code !== 'E_FILE_NOT_FOUND') throw error;
  }
  try {
    return await openHub(onHub, await openSession(options), kind);
  } catch (error) {
    if (!(error instanceof EspalierError) || !/^E_(?:OFFLINE|DOWNLOAD)$/.test(error.code)) throw error;
    // a path may have been meant
    throw new EspalierError(error.code, `There is no path ${text} here. ${error.message}`, error.hint, {
      cause: error,
    });
  }
}

function singleFile(name: string, content: Uint8Array | Blob): ModelFiles {
  return { name, names: [name], open: async (wanted) => openMember(name, { [name]: content }, wanted) };
}

function record(content: Readonly<Record<string, Uint8Array | Blob>>, kind: FilesKind): ModelFiles {
  const names = Object.keys(content);
  for (const name of names) {
    if (content[name] instanceof Uint8Array || isBlob(content[name])) continue;
    throw new EspalierError('E_ARGUMENT', `The content of ${name} is neither bytes nor a Blob.`, 'Pass one of these.');
  }
  return { name: kind, names, open: async (wanted) => openMember(kind, content, wanted) };
}

function openMember(folder: string, content: Readonly<Record<string, Uint8Array | Blob>>, name: string): ByteSource {
  const member = Object.hasOwn(content, name) ? content[name] : undefined;
  if (member === undefined) throw notFound(name, folder);
  return member instanceof Uint8Array ? bytesSource(name, member) : blobSource(name, member);
}

function isBlob(value: unknown): value is Blob {
  return typeof Blob !== 'undefined' && value instanceof Blob;
}

function nameOf(content: Uint8Array | Blob): string | undefined {
  return 'name' in content && typeof content.name === 'string' && content.name !== '' ? content.name : undefined;
}
