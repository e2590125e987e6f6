import { EspalierError } from '../../errors.ts';
import type { CacheFile, CacheRef } from '../cache/types.ts';
import { readWhole } from '../files/bytes.ts';
import { FILE_LIMITS, limitOf } from '../files/file-limits.ts';
import { sha256 } from '../files/hash.ts';
import type { ByteSource, ModelFiles } from '../files/source.ts';
import type { WebAddress } from './address.ts';
import { Changed, download, lengthOf, notCached, type Remote, versionOf } from './download.ts';
import { drop, hasContent, patience, refusal, request, Transient, withRetries } from './http.ts';
import {
  ADAPTER_CONFIG,
  ADAPTER_WEIGHTS,
  ALTER_CONFIG,
  ALTER_WEIGHTS,
  type Fetch,
  type FilesKind,
  INDEX_FILE,
  isCached,
  OPTIONAL_FILES,
  REQUIRED_FILES,
  refKey,
  remoteFiles,
  SINGLE_FILE,
  shardsOf,
} from './remote-files.ts';
import type { Session } from './session.ts';

/** How often a file may change while it is downloaded. */
const MAX_CHANGES = 3;

/**
 * A model at any address: a `.gguf` file, or a folder of files by name, given by itself (with a slash at its end) or by a
 * `.safetensors` file in it. Which version the server has is asked at every opening; without a connection what the cache has serves.
 *
 * @throws E_OFFLINE, E_DOWNLOAD, E_DOWNLOAD_CORRUPT, E_STORAGE_FULL, E_FILE_WRITE, E_ABORTED
 */
export async function openWeb({ url }: WebAddress, session: Session, kind: FilesKind): Promise<ModelFiles> {
  const shown = `${url.origin}${url.pathname}`;
  const key = await refKey(
    'web',
    shown.replace(/^https?:\/\//, ''),
    kind === 'adapter' ? `${url.href}\n${kind}` : url.href,
  );
  const stored = await session.cache.readRef(key);
  const isThere = stored !== null && (await isCached(session.cache, stored.files));
  const last = lastName(url);
  const site: Site = { session, isStored: isThere, got: new Map(), stored: stored?.files ?? [] };
  const fromCache = (cause?: unknown): ModelFiles => {
    if (!isThere) throw notCached(shown, session, cause);
    return cached(shown, stored, { ...session, offline: true });
  };
  if (session.offline) return fromCache();
  try {
    const save = async (): Promise<void> => {
      const files = [...site.got.values()];
      await session.cache.writeRef(key, { name: shown, files });
      // nobody can ask for an earlier version again
      const current = new Set(files.map(({ blob }) => blob));
      for (const { blob } of stored?.files ?? []) if (!current.has(blob)) await session.cache.remove(`blobs/${blob}`);
    };
    if (kind === 'model' && /\.gguf$/i.test(last)) return await file(url, shown, site, save);
    return await folder(url, last, site, save, kind);
  } catch (error) {
    if (!(error instanceof Transient)) throw error;
    if (isThere || error.kind === 'unreachable') return fromCache(error);
    throw new EspalierError('E_DOWNLOAD', `${shown} could not be looked up: ${error.message}.`, 'Try again later.', {
      cause: error,
    });
  }
}

/** Where a model comes from, and what has come. */
interface Site {
  readonly session: Session;
  /** Whether the cache could serve instead. */
  readonly isStored: boolean;
  readonly got: Map<string, CacheFile>;
  /** Files that the cache had before. */
  readonly stored: readonly CacheFile[];
}

type Save = () => Promise<void>;

async function file(url: URL, shown: string, site: Site, save: Save): Promise<ModelFiles> {
  const name = lastName(url);
  const remote = await probe(url, name, site);
  if (!remote) throw missing(shown);
  return remoteFiles(shown, new Map([[name, () => fetched(remote, url, site)]]), { whenComplete: save });
}

async function folder(url: URL, wanted: string, site: Site, save: Save, kind: FilesKind): Promise<ModelFiles> {
  const base = new URL('.', url);
  const shown = base.href;
  // the query of a file may be what lets it be read
  const at = (name: string): URL => new URL(encodeURIComponent(name) + url.search, base);
  const files = new Map<string, Fetch>();
  const there: string[] = [];

  /** A small file, at once. */
  const small = async (name: string, isRequired: boolean): Promise<Fetch | null> => {
    const remote = await probe(at(name), name, site, isRequired);
    if (!remote && isRequired) throw missing(`${shown}${name}`);
    if (!remote) return null;
    const fetch = () => fetched(remote, at(name), site);
    await (await fetch()).close();
    files.set(name, fetch);
    there.push(name);
    return fetch;
  };
  /** Weights, when they are opened. */
  const large = async (name: string): Promise<boolean> => {
    const remote = await probe(at(name), name, site);
    if (remote) files.set(name, () => fetched(remote, at(name), site));
    return remote !== null;
  };

  if (kind === 'adapter') {
    const isNamed = wanted !== '';
    const isPlain = !isNamed && (await small(ADAPTER_CONFIG, false)) !== null;
    const isRouted = isNamed ? wanted === ALTER_WEIGHTS : !isPlain && (await small(ALTER_CONFIG, false)) !== null;
    const weights = isNamed ? wanted : isRouted ? ALTER_WEIGHTS : ADAPTER_WEIGHTS;
    // asked for once more where there is neither: it is said why
    if (isNamed || !(isPlain || isRouted)) await small(isRouted ? ALTER_CONFIG : ADAPTER_CONFIG, true);
    if (!(await large(weights))) throw missing(`${shown}${weights}`);
    return remoteFiles(shown, files, { preferred: isNamed ? wanted : undefined, there, whenComplete: save });
  }
  for (const name of REQUIRED_FILES) await small(name, true);
  for (const name of OPTIONAL_FILES) await small(name, false);
  const preferred = wanted === '' ? undefined : wanted;
  const isShard = preferred === undefined || /-\d+-of-\d+\.safetensors$/.test(preferred);
  if (!(preferred === undefined && (await large(SINGLE_FILE)))) {
    const index = isShard ? await small(INDEX_FILE, false) : null;
    const names = index ? await shards(index) : preferred === undefined ? [] : [preferred];
    if (names.length === 0) throw missing(`${shown}${SINGLE_FILE} and no ${INDEX_FILE}`);
    for (const name of names) if (!(await large(name))) throw missing(`${shown}${name}`);
  }
  return remoteFiles(shown, files, { preferred, there, whenComplete: save });
}

async function shards(index: Fetch): Promise<string[]> {
  const source = await index();
  try {
    return shardsOf(await readWhole(source, FILE_LIMITS.index));
  } finally {
    await source.close();
  }
}

/**
 * Asks for a file without taking it. Null when an optional one is not there: servers say so in several ways, and some answer with a
 * page.
 */
async function probe(url: URL, name: string, site: Site, isRequired = false, method?: 'GET'): Promise<Remote | null> {
  const { session, isStored } = site;
  const shown = `${url.origin}${url.pathname}`;
  const response = await withRetries(
    session,
    async (attempt) => {
      const ask = async (how: 'GET' | 'HEAD'): Promise<Response> => {
        const answer = await request(url.href, session, attempt, {
          method: how,
          headers: { 'Accept-Encoding': 'identity' },
        });
        drop(answer);
        return answer;
      };
      const head = method ? null : await ask('HEAD');
      // an address may be signed for GET alone
      const isClear = head && (hasContent(head) || head.status === 404 || head.status === 401);
      const answer = isClear ? head : await ask('GET');
      if (hasContent(answer) || (!isRequired && [204, 403, 404, 410].includes(answer.status))) return answer;
      throw refusal(answer, shown, session);
    },
    patience(session, isStored),
  );
  const isPage = /^text\/html\b/i.test(response.headers.get('content-type') ?? '');
  if (!hasContent(response) || (isPage && !isRequired)) return null;
  if (isPage) {
    throw new EspalierError(
      'E_DOWNLOAD',
      `${shown} answers with a web page.`,
      'Check the address; a network that asks for a login first answers like this too.',
    );
  }
  const version = versionOf(response);
  const size = lengthOf(response);
  session.meter.expect(name, size);
  const blob = `url-${await sha256(`${url.href}\n${version?.name ?? ''}`)}`;
  // nothing tells whether what is there is still the same
  if (!version) await session.cache.remove(`blobs/${blob}`);
  return { file: name, label: shown, url: url.href, blob, size, version, limit: limitOf(name) };
}

/** Downloads a file; one that changes meanwhile, anew. */
async function fetched(remote: Remote, url: URL, site: Site): Promise<ByteSource> {
  for (let changes = 0; ; changes++) {
    try {
      const source = await download(remote, site.session);
      const { blob } = remote;
      const sha256 = source.sha256 ?? site.stored.find((file) => file.blob === blob)?.sha256;
      site.got.set(remote.file, { name: remote.file, blob, size: source.size, sha256 });
      return source;
    } catch (error) {
      if (!(error instanceof Changed)) throw error;
      // some servers name another version when they are only asked
      const now = changes < MAX_CHANGES ? await probe(url, remote.file, site, true, 'GET') : null;
      if (!now) {
        throw new EspalierError('E_DOWNLOAD', `${remote.label} keeps changing.`, 'Try again later.', { cause: error });
      }
      remote = now;
    }
  }
}

/** What the cache has of a model, without the network. */
function cached(shown: string, { files }: CacheRef, session: Session): ModelFiles {
  const fetches = files.map(({ name, blob, size }): [string, Fetch] => {
    const label = `${shown} (${name})`;
    const remote = { file: name, label, url: shown, blob, size, version: null, limit: limitOf(name) };
    return [name, () => download(remote, session)];
  });
  return remoteFiles(shown, new Map(fetches), {});
}

function lastName({ pathname }: URL): string {
  const name = pathname.slice(pathname.lastIndexOf('/') + 1);
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}

function missing(what: string): EspalierError {
  return new EspalierError('E_DOWNLOAD', `There is no ${what}.`, 'Check the address.');
}
