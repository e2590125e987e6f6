import { openCache } from '../cache/default.ts';
import type { Cache } from '../cache/types.ts';
import { hasNode } from '../host/types.ts';
import { checkedRevision } from './address.ts';
import { Meter } from './download-progress.ts';
import { type FilesOptions, type HubOptions, hubOptions } from './options.ts';

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
