import { hubOptions } from '../../options/open.ts';
import type { Cache } from '../cache/cache.ts';
import { openCache } from '../cache/default.ts';
import { hasNode } from '../host/host.ts';
import { checkedRevision } from './address.ts';
import { type DownloadProgress, Meter } from './download-progress.ts';

export interface HubOptions {
  /** Default: `HF_ENDPOINT`, else `https://huggingface.co`. */
  readonly endpoint?: string | undefined;
  /** For private and gated models; default: `HF_TOKEN`. It is sent to the endpoint's origin and nowhere else. */
  readonly token?: string | undefined;
  /** A branch, tag or commit, where the address names none; default `main`. */
  readonly revision?: string | undefined;
  /** The file to open, where the address names none: one of several GGUF files. */
  readonly file?: string | undefined;
  /** Only what is in the cache; the network is not touched. Default: whether `HF_HUB_OFFLINE` is 1. Counts for all addresses. */
  readonly offline?: boolean | undefined;
  /** How often in a row a request that failed in passing is made again; default 5. Counts for all addresses. */
  readonly retries?: number | undefined;
  /** Milliseconds before the first of them, doubled each time up to 10 s; default 500. */
  readonly retryDelay?: number | undefined;
  /** Milliseconds without a byte after which a connection is given up; default 30,000. */
  readonly timeout?: number | undefined;
}

export interface FilesOptions {
  readonly signal?: AbortSignal | undefined;
  /** Called while files are downloaded, some ten times a second; never when all is in the cache. */
  readonly onDownload?: ((progress: DownloadProgress) => void) | undefined;
  /** Of the Hugging Face hub, or another one like it. */
  readonly hub?: HubOptions | undefined;
  /**
   * Where downloads are kept, or the name of the folder for `openCache`; default: the host's own. Null: in memory, until the model is
   * open.
   */
  readonly cache?: Cache | string | null | undefined;
}

/** What all requests of one call have in common. */
export interface Session {
  readonly endpoint: string;
  readonly token: string | null;
  readonly revision: string;
  readonly file: string | undefined;
  readonly offline: boolean;
  readonly retries: number;
  readonly retryDelay: number;
  readonly timeout: number;
  readonly signal: AbortSignal | undefined;
  readonly cache: Cache;
  readonly meter: Meter;
  /** Origins that have answered in this call. */
  readonly reached: Set<string>;
}

/** @throws E_ARGUMENT for options out of their range */
export async function openSession(options: FilesOptions): Promise<Session> {
  const { hub = {}, signal, onDownload } = options;
  const token = given('token', hub.token, 'HF_TOKEN') ?? '';
  return {
    endpoint: endpointOf(hub),
    token: token === '' ? null : token,
    revision: checkedRevision(hub.revision ?? 'main', hub.revision ?? ''),
    file: hub.file,
    offline: hub.offline ?? environment('HF_HUB_OFFLINE') === '1',
    retries: hub.retries ?? hubOptions.retries.default,
    retryDelay: hub.retryDelay ?? hubOptions.retryDelay.default,
    timeout: hub.timeout ?? hubOptions.timeout.default,
    signal,
    cache: await cacheOf(options.cache),
    meter: new Meter(onDownload),
    reached: new Set(),
  };
}

/** The address of the hub, without a slash at its end. @throws E_ARGUMENT */
export function endpointOf(hub: HubOptions = {}): string {
  const url = new URL(given('endpoint', hub.endpoint, 'HF_ENDPOINT') ?? 'https://huggingface.co');
  return `${url.origin}${url.pathname.replace(/\/+$/, '')}`;
}

/** An option, or what the environment says in its place. @throws E_ARGUMENT */
function given(name: 'endpoint' | 'token', option: string | undefined, variable: string): string | undefined {
  if (option !== undefined) return option;
  const said = environment(variable);
  return said === undefined ? undefined : hubOptions[name].check(said, variable);
}

async function cacheOf(cache: FilesOptions['cache']): Promise<Cache> {
  if (cache === null) return (await import('../cache/memory.ts')).memoryCache();
  return typeof cache === 'object' ? cache : openCache(cache);
}

/** A variable that is set and not empty. */
function environment(name: string): string | undefined {
  if (!hasNode()) return undefined;
  try {
    return process.env[name] || undefined;
  } catch {
    return undefined; // Deno asks for a permission
  }
}
