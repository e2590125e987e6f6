import { EspalierError } from '../../errors.ts';
import type { CacheFile, CacheRef } from '../cache/types.ts';
import { readWhole } from '../files/bytes.ts';
import { FILE_LIMITS, limitOf } from '../files/file-limits.ts';
import { shardNames } from '../files/shard-names.ts';
import type { ModelFiles } from '../files/source.ts';
import { strangeFolder } from '../files/strangers.ts';
import { type HubAddress, isSafeName } from './address.ts';
import { download, notCached, type Remote } from './download.ts';
import { patience, readBody, refusal, request, Transient, withRetries } from './http.ts';
import {
  ADAPTER_CONFIG,
  ADAPTER_WEIGHTS,
  ALTER_CONFIG,
  ALTER_WEIGHTS,
  type Fetch,
  type FilesKind,
  INDEX_FILE,
  isAdapterFile,
  isCached,
  OPTIONAL_FILES,
  REQUIRED_FILES,
  refKey,
  remoteFiles,
  SINGLE_FILE,
  shardsOf,
  templateName,
} from './remote-files.ts';
import type { Session } from './session.ts';

const MAX_LISTING = 32 << 20;
/** How many files a message names. */
const NAMED = 10;
const COMMIT = /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/;

/** A repository at one commit. */
interface Repository {
  /** `owner/name`, or with a revision that is not main `owner/name@revision`. */
  readonly label: string;
  readonly repo: string;
  readonly revision: string;
  readonly commit: string;
  /** By name, those that a model can need. */
  readonly files: ReadonlyMap<string, CacheFile>;
  /** Names of the rest, to say what it holds instead of a model; none where the listing is from the cache. */
  readonly rest: readonly string[];
}

/**
 * A model of the hub. What its revision stands for is asked at every opening, unless it is a commit that is known; without a
 * connection, or when the hub fails, what the cache has of it serves.
 *
 * @throws E_OFFLINE, E_DOWNLOAD, E_DOWNLOAD_CORRUPT, E_FILE_NOT_FOUND for a repository without a model or without the named file,
 *   E_ARGUMENT when several GGUF files are there and none is named, E_STORAGE_FULL, E_FILE_WRITE, E_ABORTED
 */
export async function openHub(address: HubAddress, session: Session, kind: FilesKind): Promise<ModelFiles> {
  const { cache, endpoint, meter } = session;
  const { repo } = address;
  const revision = address.revision ?? session.revision;
  const label = revision === 'main' ? repo : `${repo}@${revision}`;
  const file = address.file ?? session.file;
  const key = await refKey('hub', label, [endpoint, repo, revision, ...(kind === 'adapter' ? [kind] : [])].join('\n'));
  const stored = repositoryOf(await cache.readRef(key), { label, repo, revision });

  let known = session.offline || COMMIT.test(revision) ? stored : null;
  let failure: Transient | null = null;
  if (!known && !session.offline) {
    try {
      known = await listing({ label, repo, revision }, session, stored !== null);
    } catch (error) {
      if (!(error instanceof Transient)) throw error;
      failure = error;
      known = stored;
    }
  }
  if (!known) throw unlisted(label, session, failure);

  const repository = known;
  const local = failure ? { ...session, offline: true } : session;
  const fetchOf = (wanted: CacheFile): Fetch => {
    const remote = remoteOf(wanted, repository, endpoint);
    return () => download(remote, local);
  };
  const shards = async (index: CacheFile): Promise<string[]> => {
    const source = await fetchOf(index)();
    try {
      return shardsOf(await readWhole(source, FILE_LIMITS.index));
    } finally {
      await source.close();
    }
  };
  const planned = kind === 'adapter' ? planAdapter(repository, file) : await plan(repository, file, shards);
  if (local.offline && !(await isCached(cache, planned.files))) throw unlisted(label, session, failure);

  for (const { name, size } of planned.files) meter.expect(name, size);
  const there: string[] = [];
  const fetches = new Map<string, Fetch>();
  for (const wanted of planned.files) {
    const fetch = fetchOf(wanted);
    fetches.set(wanted.name, fetch);
    if (isWeights(wanted.name)) continue;
    await (await fetch()).close();
    there.push(wanted.name);
  }
  return remoteFiles(label, fetches, {
    preferred: planned.preferred,
    there,
    whenComplete: async () => {
      // what came from the cache is there already
      if (repository === stored) return;
      const { commit, files } = repository;
      await cache.writeRef(key, { name: `${repo}@${revision}`, commit, files: [...files.values()] });
    },
  });
}

function unlisted(label: string, session: Session, failure: Transient | null): EspalierError {
  if (failure === null || failure.kind === 'unreachable') return notCached(label, session, failure ?? undefined);
  return new EspalierError('E_DOWNLOAD', `${label} could not be looked up: ${failure.message}.`, 'Try again later.', {
    cause: failure,
  });
}

type Wanted = Pick<Repository, 'label' | 'repo' | 'revision'>;

/** What the hub says of a repository. @throws Transient, E_DOWNLOAD, E_ABORTED */
async function listing(wanted: Wanted, session: Session, isStored: boolean): Promise<Repository> {
  const { label, repo, revision } = wanted;
  const url = `${session.endpoint}/api/models/${repo}/revision/${encodeURIComponent(revision)}?blobs=true`;
  const text = await withRetries(
    session,
    async (attempt) => {
      const response = await request(url, session, attempt, { headers: { Accept: 'application/json' } });
      if (!response.ok) throw refusal(response, label, session);
      return readBody(response, attempt, MAX_LISTING);
    },
    patience(session, isStored),
  );
  let answer: { sha?: unknown; siblings?: unknown } | null;
  try {
    answer = JSON.parse(text);
  } catch (cause) {
    throw notAHub(session, cause);
  }
  if (typeof answer?.sha !== 'string' || !COMMIT.test(answer.sha) || !Array.isArray(answer.siblings)) {
    throw notAHub(session);
  }
  const files = new Map<string, CacheFile>();
  const rest: string[] = [];
  for (const sibling of answer.siblings) {
    const file = fileOf(sibling);
    if (file && !files.has(file.name)) files.set(file.name, file);
    const name: unknown = (sibling as { rfilename?: unknown } | null)?.rfilename;
    if (!file && typeof name === 'string' && name.length < 200) rest.push(name);
  }
  return { ...wanted, commit: answer.sha, files, rest };
}

function notAHub({ endpoint }: Session, cause?: unknown): EspalierError {
  return new EspalierError(
    'E_DOWNLOAD',
    `${endpoint} does not answer as a hub does.`,
    'Check the endpoint (HF_ENDPOINT).',
    {
      cause,
    },
  );
}

/** An entry of the listing, or null when it is none that a model needs, or makes no sense. */
function fileOf(sibling: unknown): CacheFile | null {
  const { rfilename: name, size, blobId, lfs } = (sibling ?? {}) as Record<string, unknown>;
  if (typeof name !== 'string' || !isSafeName(name) || !isNeeded(name)) return null;
  const large = (lfs ?? null) as { sha256?: unknown; size?: unknown } | null;
  const bytes = large ? (large.size ?? size) : size;
  if (typeof bytes !== 'number' || !Number.isSafeInteger(bytes) || bytes < 0) return null;
  const blob = large ? keyOf('sha256', large.sha256, 64) : keyOf('git', blobId, 40);
  return blob === null ? null : { name, blob, size: bytes };
}

function keyOf(kind: string, hex: unknown, digits: number): string | null {
  return typeof hex === 'string' && hex.length === digits && /^[0-9a-f]+$/.test(hex) ? `${kind}-${hex}` : null;
}

function isNeeded(name: string): boolean {
  if (/\.gguf$/i.test(name)) return true;
  if (name.includes('/')) return templateName(name) !== null;
  const small = [INDEX_FILE, ADAPTER_CONFIG, ALTER_CONFIG, ...REQUIRED_FILES, ...OPTIONAL_FILES];
  return name.endsWith('.safetensors') || small.includes(name);
}

function isWeights(name: string): boolean {
  return /\.(?:gguf|safetensors)$/i.test(name);
}

function repositoryOf(ref: CacheRef | null, wanted: Wanted): Repository | null {
  if (!ref?.commit || !COMMIT.test(ref.commit)) return null;
  return { ...wanted, commit: ref.commit, files: new Map(ref.files.map((file) => [file.name, file])), rest: [] };
}

function remoteOf(file: CacheFile, { label, repo, commit }: Repository, endpoint: string): Remote {
  const path = file.name.split('/').map(encodeURIComponent).join('/');
  return {
    file: file.name,
    label: `${label}/${file.name}`,
    url: `${endpoint}/${repo}/resolve/${commit}/${path}`,
    blob: file.blob,
    size: file.size,
    version: null,
    limit: limitOf(file.name),
  };
}

interface Plan {
  readonly files: readonly CacheFile[];
  readonly preferred?: string | undefined;
}

/** The two files of an adapter, of PEFT's where both kinds are there. @throws E_ADAPTER */
function planAdapter({ label, files }: Repository, wanted: string | undefined): Plan {
  const isRouted =
    wanted === undefined ? files.has(ALTER_CONFIG) && !files.has(ADAPTER_CONFIG) : wanted === ALTER_WEIGHTS;
  const [config, usual] = isRouted ? [ALTER_CONFIG, ALTER_WEIGHTS] : [ADAPTER_CONFIG, ADAPTER_WEIGHTS];
  const weights = wanted ?? usual;
  const list = [config, weights].map((name) => {
    const file = files.get(name);
    if (file) return file;
    const hint = `An adapter is ${ADAPTER_CONFIG} and ${ADAPTER_WEIGHTS}, as peft writes them, or ${ALTER_CONFIG} and ${ALTER_WEIGHTS}.`;
    throw new EspalierError('E_ADAPTER', `${label} is no adapter that is read here: it has no ${name}.`, hint);
  });
  return { files: list, preferred: weights === usual ? undefined : weights };
}

/** Which files make up the model. */
async function plan(
  { label, repo, revision, files, rest }: Repository,
  wanted: string | undefined,
  shards: (index: CacheFile) => Promise<string[]>,
): Promise<Plan> {
  const names = [...files.keys()];
  const ggufs = names.filter((name) => /\.gguf$/i.test(name));
  if (wanted !== undefined && !files.has(wanted)) {
    throw new EspalierError('E_FILE_NOT_FOUND', `There is no ${wanted} in ${label}.`, `It has ${named(names)}.`);
  }
  if (wanted !== undefined && ggufs.includes(wanted)) return { files: [files.get(wanted)!] };
  if (wanted !== undefined && !isWeights(wanted)) {
    throw new EspalierError('E_ARGUMENT', `${wanted} holds no weights.`, 'Name a .gguf or .safetensors file, or none.');
  }
  const weights = await tensorFiles(files, wanted, shards);
  if (files.has('config.json') && weights.length > 0) {
    for (const name of REQUIRED_FILES) {
      if (files.has(name)) continue;
      throw new EspalierError(
        'E_FILE_NOT_FOUND',
        `There is no ${name} in ${label}.`,
        'Choose a repository that has one.',
      );
    }
    const templates = names.filter((name) => templateName(name) !== null);
    const small = [...REQUIRED_FILES, ...OPTIONAL_FILES, ...templates];
    return { files: [...small, ...weights].flatMap((name) => files.get(name) ?? []), preferred: wanted };
  }
  if (ggufs.length === 1) return { files: [files.get(ggufs[0]!)!] };
  if (ggufs.length > 1) {
    throw new EspalierError(
      'E_ARGUMENT',
      `${label} has several GGUF files: ${named(ggufs)}.`,
      `Name one, as hf://${repo}${revision === 'main' ? '' : `@${encodeURIComponent(revision)}`}/${ggufs[0]} or by the option file.`,
    );
  }
  if (files.has(ADAPTER_CONFIG) || files.has(ALTER_CONFIG)) {
    const hint = 'Open its base model with it as one of its `adapters` (--adapter).';
    throw new EspalierError('E_ADAPTER', `${label} holds an adapter (LoRA), not a model.`, hint);
  }
  const strange = strangeFolder(rest);
  if (strange) throw new EspalierError('E_CHECKPOINT_FORMAT', `${label} ${strange.what}.`, strange.hint);
  throw new EspalierError(
    'E_FILE_NOT_FOUND',
    `${label} has neither config.json with safetensors nor a GGUF file.`,
    'Choose a repository that has one of them.',
  );
}

/** The safetensors files that are read, and their index where it says which, as in a folder. */
async function tensorFiles(
  files: Repository['files'],
  wanted: string | undefined,
  shards: (index: CacheFile) => Promise<string[]>,
): Promise<string[]> {
  const single = wanted ?? (files.has(SINGLE_FILE) ? SINGLE_FILE : undefined);
  const index = files.get(INDEX_FILE);
  if (index && (single === undefined || single === wanted)) {
    const indexed = await shards(index);
    // a shard that is named stands for all of them
    if (single === undefined || indexed.includes(single)) return [INDEX_FILE, ...indexed];
  }
  if (single !== undefined) return [single];
  const set = shardNames([...files.keys()], undefined);
  if (set) return [...set];
  const others = [...files.keys()].filter((name) => name.endsWith('.safetensors') && !isAdapterFile(name));
  return others.length === 1 ? others : [];
}

function named(names: readonly string[]): string {
  const rest = names.length - NAMED;
  return names.slice(0, NAMED).join(', ') + (rest > 0 ? ` and ${rest} more` : '') || 'no file that could be read';
}
