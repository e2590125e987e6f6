/** Options of the files that a model is opened from. */
import { object } from '../../options/check.ts';
import {
  callback,
  defaulting,
  either,
  like,
  nothing,
  type Rule,
  real,
  refusal,
  type Schema,
  signal,
  text,
  truth,
  whole,
  words,
} from '../../options/rules.ts';
import type { Cache } from '../cache/types.ts';
import type { DownloadProgress } from './download-progress.ts';

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

/** Most milliseconds that a timer of JavaScript waits; one of more fires at once. */
const LONGEST = 2 ** 31 - 1;

/** Of a hub: its address, without a query or a user. */
export const endpoint: Rule<string> = {
  ...text('the http or https address of a hub'),
  check: (value, name) => {
    try {
      const { protocol, username, search } = new URL(value as string);
      if (typeof value === 'string' && /^https?:$/.test(protocol) && username === '' && search === '') return value;
    } catch {
      // as below
    }
    throw refusal(name, value, endpoint.takes);
  },
};

/** It is not shown, even where it is wrong. */
export const token: Rule<string> = {
  ...text('a token of the hub, as text without spaces and letters beyond ASCII'),
  check: (value, name) => {
    if (typeof value === 'string' && /^\s*[\x21-\x7e]*\s*$/.test(value)) return value.trim();
    throw refusal(name, typeof value === 'string' ? '…' : value, token.takes);
  },
};

export const hubOptions = {
  endpoint,
  token,
  revision: words,
  file: words,
  offline: truth,
  retries: defaulting(whole(0, 1e6), 5),
  retryDelay: defaulting(real(0, LONGEST), 500),
  timeout: defaulting(real(1, LONGEST), 30_000),
} as const satisfies Schema<HubOptions>;

export const hub: Rule<HubOptions> = object<HubOptions>(hubOptions, 'hub');

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

const CACHE = ['open', 'claim', 'readRef', 'writeRef', 'list', 'remove', 'clear'] as const;

const cache = like<Cache>('a Cache', (value) =>
  CACHE.every((name) => typeof (value as Record<string, unknown>)[name] === 'function'),
);

export const filesOptions = {
  signal,
  onDownload: callback,
  hub,
  cache: either(words, nothing, cache),
} as const satisfies Schema<FilesOptions>;
