/**
 * A hub on two ports of this machine, in the shape of huggingface.co: what it lists, where it redirects, which headers it sends. The
 * second port is the other host that holds the large files. Tests bend single answers by `intercept`.
 */
import { createHash, randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import * as assert from 'uvu/assert';

export interface ServedFile {
  bytes: Uint8Array;
  /** Large files lie on the other host, and are known by their SHA-256. */
  lfs?: boolean;
  /** What the listing says, where that is not the truth. */
  listed?: Record<string, unknown>;
}

export interface Repository {
  commit: string;
  files: Record<string, ServedFile>;
  /** The token that opens it. */
  token?: string;
  gated?: boolean;
}

export interface Exchange {
  readonly where: 'hub' | 'cdn';
  readonly method: string;
  readonly path: string;
  readonly range: string | undefined;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

export interface Behaviour {
  etag?: string;
  lastModified?: string;
  /** Sends so many bytes of the body and drops the connection, once the receiver has kept all bytes up to there. */
  cut?: { after: number; kept: (end: number) => Promise<boolean> };
  ignoreRange?: boolean;
  /** No length, so that its end alone ends the body. */
  chunked?: boolean;
  /** Bytes at a time, and milliseconds between. */
  slow?: { bytes: number; pause: number };
  type?: string;
}

export const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
export const gitSha = (bytes: Uint8Array): string =>
  createHash('sha1').update(`blob ${bytes.byteLength}\0`).update(bytes).digest('hex');
export const noise = (length: number): Uint8Array => new Uint8Array(randomBytes(length));
/** The same behind the first bytes of a GGUF file and what a safetensors file has at its ninth. */
export function weights(length: number): Uint8Array {
  const bytes = noise(length);
  // what lies beyond the end is not written
  for (const [place, byte] of [0x47, 0x47, 0x55, 0x46].entries()) bytes[place] = byte;
  bytes[8] = 0x7b;
  return bytes;
}
export const text = (content: string): Uint8Array => new TextEncoder().encode(content);

export class HubServer {
  readonly repositories = new Map<string, Repository>();
  /** Files at any path of the second port. */
  readonly pages = new Map<string, { bytes: Uint8Array } & Behaviour>();
  readonly log: Exchange[] = [];
  /** Answers in place of the hub when it returns true. */
  intercept: (exchange: Exchange) => boolean = () => false;
  endpoint = '';
  cdn = '';
  #servers: Server[] = [];

  static async start(): Promise<HubServer> {
    const hub = new HubServer();
    hub.endpoint = await hub.#listen('hub');
    hub.cdn = await hub.#listen('cdn');
    return hub;
  }

  async #listen(where: Exchange['where']): Promise<string> {
    const server = createServer((request, response) => this.#handle(where, request, response));
    this.#servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(server.address() as { port: number }).port}`;
  }

  async close(): Promise<void> {
    for (const server of this.#servers) {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  }

  /** Forgets what tests before have bent and seen. */
  reset(): void {
    this.intercept = () => false;
    this.log.length = 0;
  }

  /** Requests that reached the second port, or a path of any. */
  seen(part: string | RegExp): Exchange[] {
    return this.log.filter(({ where, path }) => where === part || path.match(part) !== null);
  }

  /** Adds a repository at a commit of its own. */
  add(name: string, files: Record<string, ServedFile>, more: Partial<Repository> = {}): Repository {
    const repository = { commit: sha256(noise(8)).slice(0, 40), files, ...more };
    this.repositories.set(name, repository);
    return repository;
  }

  #handle(where: Exchange['where'], request: IncomingMessage, response: ServerResponse): void {
    const path = decodeURIComponent((request.url ?? '/').replace(/\?.*$/, ''));
    const { method = 'GET', headers } = request;
    const exchange: Exchange = { where, method, path, range: headers.range, request, response };
    this.log.push(exchange);
    if (this.intercept(exchange)) return;
    const api = /^\/api\/models\/([^/]+\/[^/]+)\/revision\/(.+)$/.exec(path);
    const file = /^\/([^/]+\/[^/]+)\/resolve\/([^/]+)\/(.+)$/.exec(path);
    const near = /^\/api\/resolve-cache\/models\/([^/]+\/[^/]+)\/([^/]+)\/(.+)$/.exec(path);
    if (where === 'cdn') this.#serveLarge(exchange);
    else if (api) this.#list(exchange, api[1]!, api[2]!);
    else if (file) this.#resolve(exchange, file[1]!, file[2]!, file[3]!, false);
    else if (near) this.#resolve(exchange, near[1]!, near[2]!, near[3]!, true);
    else refuse(exchange, 404);
  }

  #allowed(exchange: Exchange, name: string, listing: boolean): Repository | null {
    const repository = this.repositories.get(name);
    const token = exchange.request.headers.authorization?.replace('Bearer ', '');
    // as the hub does: strangers do not learn what exists
    if (!repository) refuse(exchange, token ? 404 : 401, 'RepoNotFound');
    else if (repository.gated && token !== repository.token && !listing)
      refuse(exchange, token ? 403 : 401, 'GatedRepo');
    else if (!repository.gated && repository.token && token !== repository.token) refuse(exchange, 401, 'RepoNotFound');
    else return repository;
    return null;
  }

  #list(exchange: Exchange, name: string, revision: string): void {
    const repository = this.#allowed(exchange, name, true);
    if (!repository) return;
    if (revision !== 'main' && revision !== repository.commit) {
      refuse(exchange, 404, 'RevisionNotFound');
      return;
    }
    const siblings = Object.entries(repository.files).map(([rfilename, { bytes, lfs, listed }]) => ({
      rfilename,
      size: bytes.byteLength,
      blobId: gitSha(bytes),
      ...(lfs ? { lfs: { sha256: sha256(bytes), size: bytes.byteLength, pointerSize: 134 } } : {}),
      ...listed,
    }));
    const body = JSON.stringify({ _id: '1', id: name, modelId: name, sha: repository.commit, gated: false, siblings });
    exchange.response.writeHead(200, { 'Content-Type': 'application/json; charset=utf-8' }).end(body);
  }

  #resolve(exchange: Exchange, name: string, revision: string, path: string, isNear: boolean): void {
    const repository = this.#allowed(exchange, name, false);
    if (!repository) return;
    const file = repository.files[path];
    if (!file || (revision !== repository.commit && revision !== 'main')) {
      refuse(exchange, 404, 'EntryNotFound');
      return;
    }
    exchange.response.setHeader('X-Repo-Commit', repository.commit);
    if (!file.lfs && !isNear && path === 'config.json') {
      // some small files come by way of the hub's own cache
      const Location = `/api/resolve-cache/models/${name}/${repository.commit}/${path}?etag=x`;
      exchange.response.writeHead(307, { Location, 'X-Linked-ETag': `"${gitSha(file.bytes)}"` }).end();
      return;
    }
    if (!file.lfs) {
      send(exchange, file.bytes, { etag: `"${gitSha(file.bytes)}"` });
      return;
    }
    const hash = sha256(file.bytes);
    exchange.response
      .writeHead(302, {
        Location: `${this.cdn}/large/${hash}?signature=${sha256(noise(4))}`,
        'X-Linked-ETag': `"${hash}"`,
        'X-Linked-Size': file.bytes.byteLength,
      })
      .end();
  }

  #serveLarge(exchange: Exchange): void {
    const page = this.pages.get(exchange.path);
    const all = [...this.repositories.values()].flatMap(({ files }) => Object.values(files));
    const file = all.find(({ bytes, lfs }) => lfs && exchange.path === `/large/${sha256(bytes)}`);
    if (page) send(exchange, page.bytes, page);
    else if (file) send(exchange, file.bytes, { etag: `"${sha256(file.bytes)}"` });
    else refuse(exchange, 404);
  }
}

export function refuse({ response }: Exchange, status: number, code?: string): void {
  response.writeHead(status, code ? { 'X-Error-Code': code } : {}).end('no');
}

/** Sends a file as a decent server does, but for what `how` says. */
export function send({ request, response, method }: Exchange, bytes: Uint8Array, how: Behaviour = {}): void {
  const { headers } = request;
  if (how.etag) response.setHeader('ETag', how.etag);
  if (how.lastModified) response.setHeader('Last-Modified', how.lastModified);
  if (how.type) response.setHeader('Content-Type', how.type);
  if (!how.ignoreRange) response.setHeader('Accept-Ranges', 'bytes');
  const condition = headers['if-range'];
  const applies = condition === undefined || condition === how.etag || condition === how.lastModified;
  const from = !how.ignoreRange && applies ? Number(/^bytes=(\d+)-$/.exec(headers.range ?? '')?.[1] ?? 0) : 0;
  if (from >= bytes.byteLength && from > 0) {
    response.writeHead(416, { 'Content-Range': `bytes */${bytes.byteLength}` }).end();
    return;
  }
  const part = bytes.subarray(from);
  if (!how.chunked) response.setHeader('Content-Length', part.byteLength);
  if (from > 0) response.setHeader('Content-Range', `bytes ${from}-${bytes.byteLength - 1}/${bytes.byteLength}`);
  response.writeHead(from > 0 ? 206 : 200);
  if (method === 'HEAD') response.end();
  else if (how.cut) void cutOff(response, part.subarray(0, how.cut.after), () => how.cut!.kept(from + how.cut!.after));
  else if (how.slow) void trickle(response, part, how.slow);
  else response.end(part);
}

/** What is still on its way when a connection breaks may be lost, so that nobody could say where the next one begins. */
async function cutOff(response: ServerResponse, bytes: Uint8Array, isKept: () => Promise<boolean>): Promise<void> {
  response.write(bytes);
  while (!response.destroyed && !(await isKept())) await new Promise((resolve) => setTimeout(resolve, 5));
  response.destroy();
}

async function trickle(
  response: ServerResponse,
  bytes: Uint8Array,
  slow: { bytes: number; pause: number },
): Promise<void> {
  for (let at = 0; at < bytes.byteLength && !response.destroyed; at += slow.bytes) {
    response.write(bytes.subarray(at, at + slow.bytes));
    await new Promise((resolve) => setTimeout(resolve, slow.pause).unref());
  }
  response.end();
}

type Content = Uint8Array | Readonly<Record<string, Uint8Array>> | readonly Uint8Array[];

/** The same bytes, in files or arrays of them; compared by their sums, since a listing of differences would take minutes. */
export function same(found: Content, want: Content, why?: string): void {
  const sums = (content: Content): unknown =>
    content instanceof Uint8Array
      ? sha256(content)
      : Object.fromEntries(Object.entries(content).map(([name, bytes]) => [name, sha256(bytes)]));
  assert.equal(sums(found), sums(want), why);
}
