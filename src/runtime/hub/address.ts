import { EspalierError } from '../../errors.ts';

/** A model on a hub. */
export interface HubAddress {
  readonly kind: 'hub';
  /** `owner/name`. */
  readonly repo: string;
  readonly revision?: string | undefined;
  readonly file?: string | undefined;
}

/** A file or folder at any address. */
export interface WebAddress {
  readonly kind: 'web';
  readonly url: URL;
}

/** As the hub allows them; at least one letter or digit comes first. */
const REPO = /^[A-Za-z0-9][\w.-]{0,95}\/[A-Za-z0-9][\w.-]{0,95}$/;
const MODEL_FILE = /\.(?:gguf|safetensors)$/i;

/** `owner/name` or `owner/name@revision`; null for anything else, such as the path of a file. */
export function hubName(text: string): HubAddress | null {
  const [, repo, revision] = /^([^@]+)(?:@(.+))?$/s.exec(text) ?? [];
  if (repo === undefined || !REPO.test(repo) || MODEL_FILE.test(repo)) return null;
  return { kind: 'hub', repo, revision: revision === undefined ? undefined : checkedRevision(revision, text) };
}

/**
 * `hf://owner/name[@revision][/file]`, or an address of the web. Pages and files of the hub itself are models of the hub too, as
 * they are copied from a browser.
 *
 * @param endpoint of the hub, without a slash at its end
 * @throws E_ARGUMENT for other schemes and what does not parse
 */
export function addressOf(text: string, endpoint: string): HubAddress | WebAddress {
  if (/^hf:/i.test(text)) {
    const [, repo, revision, file] = /^hf:\/\/([^/@]+\/[^/@]+)(?:@([^/]+))?(?:\/(.+?))?\/?$/is.exec(text) ?? [];
    if (repo === undefined) throw malformed(text);
    return hub(repo, revision, file, text);
  }
  let url: URL;
  try {
    url = new URL(text);
  } catch (cause) {
    throw malformed(text, cause);
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw new EspalierError(
      'E_ARGUMENT',
      `Models are not fetched from ${url.protocol} addresses.`,
      'Give a path, owner/name, hf://owner/name, or an http or https address.',
    );
  }
  if (url.username !== '' || url.password !== '') {
    throw new EspalierError('E_ARGUMENT', 'The address holds a password.', 'Fetch the files and pass them as Blobs.');
  }
  url.hash = '';
  if (url.href.startsWith(`${endpoint}/`)) {
    const path = url.href.slice(endpoint.length + 1).replace(/\?.*$/s, '');
    const page = /^([^/]+\/[^/]+)(?:\/(?:tree|blob|resolve)\/([^/]+)(?:\/(.*[^/]))?)?\/?$/s.exec(path);
    if (page && REPO.test(page[1]!)) return hub(page[1]!, page[2], page[3], text);
  }
  if (url.pathname.endsWith('/') || MODEL_FILE.test(url.pathname)) return { kind: 'web', url };
  throw new EspalierError(
    'E_ARGUMENT',
    `${url.origin}${url.pathname} names neither a .gguf or .safetensors file nor a folder.`,
    'End the address of a folder with a slash.',
  );
}

function hub(repo: string, revision: string | undefined, file: string | undefined, text: string): HubAddress {
  if (!REPO.test(repo)) throw malformed(text);
  const decoded = revision === undefined ? undefined : checkedRevision(decode(revision, text), text);
  return { kind: 'hub', repo, revision: decoded, file: file === undefined ? undefined : decode(file, text) };
}

function decode(part: string, text: string): string {
  try {
    return decodeURIComponent(part);
  } catch (cause) {
    throw malformed(text, cause);
  }
}

/** A branch, a tag, a commit or `refs/pr/1`. @throws E_ARGUMENT */
export function checkedRevision(revision: string, text: string): string {
  if (/^[\w./+-]{1,200}$/.test(revision) && !/(?:^|\/)\.{0,2}(?:\/|$)/.test(revision)) return revision;
  throw malformed(text);
}

function malformed(text: string, cause?: unknown): EspalierError {
  return new EspalierError(
    'E_ARGUMENT',
    `"${text.slice(0, 200)}" is no address of a model.`,
    'Write owner/name, owner/name@revision or hf://owner/name@revision/file.gguf.',
    { cause },
  );
}

/** Whether a name from a server stays inside the folder that it is in. */
export function isSafeName(name: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (name.length > 500 || /[\\:\u0000-\u001f\u007f]/.test(name)) return false;
  return name.split('/').every((part) => part !== '' && part !== '.' && part !== '..');
}
