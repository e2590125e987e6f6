import { EspalierError, throwIfAborted } from '../../errors.ts';
import { hasNode } from '../host/types.ts';
import type { Session } from './session.ts';

const MAX_REDIRECTS = 10;
const MAX_DELAY = 10_000;
/** A server that asks for more patience, in milliseconds, is not waited for so long. */
const MAX_RETRY_AFTER = 60_000;

/** Bytes that must come within the timeout, where more are to come: one now and then would never end. */
const PACE = 1024;
/** What a host says when a connection was there and broke. */
const BROKEN: ReadonlySet<unknown> = new Set([
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'UND_ERR_SOCKET',
  'UND_ERR_HEADERS_TIMEOUT',
  'UND_ERR_BODY_TIMEOUT',
]);

/** Who answers is there, even if not with HTTP, or without a certificate that counts: that is no missing connection. */
const NO_HTTP =
  /^(?:HPE_|UND_ERR_HEADERS_OVERFLOW|EPROTO|ERR_SSL_)|HTTPParserError|invalid (?:HTTP|URI|header|content-length)|message (?:head )?is too large|received (?:corrupt|fatal)|handshake eof/i;
const UNTRUSTED = /^(?:CERT_|ERR_TLS_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_)|invalid peer certificate/;

/** A failure that may pass: no connection, one that broke, a server that is overloaded. */
export class Transient extends Error {
  /**
   * `unreachable`: nobody has answered. `broken`: somebody has, or was about to. `short`: the file ended early, and the connection
   * did not fail.
   */
  readonly kind: 'unreachable' | 'broken' | 'short' | 'status';
  /** Milliseconds that the server asks to wait. */
  readonly after: number;

  constructor(kind: Transient['kind'], message: string, options: { cause?: unknown; after?: number } = {}) {
    super(message, options);
    this.kind = kind;
    this.after = options.after ?? 0;
  }
}

/** One try of something: its signal fires when the caller aborts, or nothing has arrived for too long. */
export class Attempt {
  readonly #controller = new AbortController();
  readonly #caller: AbortSignal | undefined;
  readonly #timeout: number;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Bytes since the timer was set. */
  #came = 0;
  /** Set when it was given up because too little came. */
  #isSilent = false;
  /** Set when so much was achieved that earlier failures no longer count. */
  progressed = false;

  constructor({ signal, timeout }: Session) {
    this.#caller = signal;
    this.#timeout = timeout;
    signal?.addEventListener('abort', this.#abort);
    this.alive();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  readonly #abort = (): void => this.#controller.abort(this.#caller?.reason);

  /** What is said of it when it has failed. */
  why(broken: string): string {
    return this.#isSilent ? `next to nothing arrived for ${this.#timeout / 1000} s` : broken;
  }

  /** Something arrived: an answer, or so many bytes of one. */
  alive(bytes = PACE): void {
    this.#came += bytes;
    if (this.#came < PACE) return;
    this.#came = 0;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#isSilent = true;
      this.#controller.abort(new Error(`${this.why('')}.`));
    }, this.#timeout);
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#caller?.removeEventListener('abort', this.#abort);
    this.#controller.abort(); // whatever is still open
  }
}

/**
 * Repeats what fails in passing, with growing pauses.
 * @throws the last Transient when it was too often; what else `run` throws; E_ABORTED
 */
export async function withRetries<T>(
  session: Session,
  run: (attempt: Attempt) => Promise<T>,
  retries: (failure: Transient) => number = () => session.retries,
): Promise<T> {
  for (let failures = 0; ; ) {
    throwIfAborted(session.signal);
    const attempt = new Attempt(session);
    try {
      return await run(attempt);
    } catch (error) {
      throwIfAborted(session.signal);
      if (!(error instanceof Transient)) throw error;
      if (attempt.progressed) failures = 0;
      if (++failures > retries(error)) throw error;
      attempt.end();
      const pause = Math.min(session.retryDelay * 2 ** (failures - 1), MAX_DELAY);
      await delay(Math.max(pause, Math.min(error.after, MAX_RETRY_AFTER)), session.signal);
    } finally {
      attempt.end();
    }
  }
}

/** Nobody waits long to look up what is there already, or where there is no connection at all. */
export function patience({ retries }: Session, isStored: boolean): (failure: Transient) => number {
  return ({ kind }) => {
    if (kind === 'unreachable') return isStored ? 0 : Math.min(1, retries);
    return isStored ? Math.min(2, retries) : retries;
  };
}

/**
 * Sends one request and follows redirects. The token goes to the hub's own origin alone; where the host follows redirects by
 * itself, as browsers do, it drops the header on the way to another.
 *
 * @throws Transient when no answer comes; E_DOWNLOAD for redirects that are not followed
 */
export async function request(
  address: string,
  session: Session,
  attempt: Attempt,
  { method = 'GET', headers = {} }: { method?: 'GET' | 'HEAD'; headers?: Readonly<Record<string, string>> } = {},
): Promise<Response> {
  const byHand = hasNode();
  // where nothing is said Deno asks for packed answers, and unpacks those alone
  const plain = isDeno() && headers['Range'] === undefined ? { 'Accept-Encoding': 'identity' } : undefined;
  const trusted = new URL(session.endpoint).origin;
  let url = new URL(address);
  for (let hops = 0; hops <= MAX_REDIRECTS; hops++) {
    const authorization =
      session.token !== null && url.origin === trusted ? { Authorization: `Bearer ${session.token}` } : undefined;
    let response: Response;
    try {
      response = await fetch(url, {
        method,
        headers: { ...plain, ...headers, ...authorization },
        signal: attempt.signal,
        redirect: byHand ? 'manual' : 'follow',
        cache: 'no-store', // the browser need not keep gigabytes a second time
      });
    } catch (cause) {
      throw failedRequest(url, session, attempt, cause);
    }
    session.reached.add(url.origin);
    attempt.alive();
    const location =
      byHand && response.status >= 300 && response.status < 400 ? response.headers.get('location') : null;
    if (location === null) return response;
    drop(response);
    url = redirected(location, url);
  }
  throw redirectFault(url, 'redirects in a circle');
}

function failedRequest(url: URL, { reached }: Session, attempt: Attempt, cause: unknown): Transient {
  const inner = (cause as { cause?: unknown }).cause ?? cause;
  const { code } = inner as { code?: unknown };
  // Deno tells it in words, browsers do not tell
  const told = `${typeof code === 'string' ? code : ''} ${inner}`;
  if (UNTRUSTED.test(told)) return new Transient('broken', `${url.host} has no certificate that is trusted`, { cause });
  if (NO_HTTP.test(told)) return new Transient('broken', `${url.host} does not answer as a web server does`, { cause });
  // a server that has answered before is there
  const wasThere = reached.has(url.origin) || BROKEN.has(code) || /connection (?:closed|reset)/i.test(told);
  if (wasThere) {
    return new Transient('broken', attempt.why(`the connection to ${url.host} broke off`), { cause });
  }
  return new Transient('unreachable', `${url.host} could not be reached`, { cause });
}

function redirected(location: string, from: URL): URL {
  let url: URL;
  try {
    url = new URL(location, from);
  } catch {
    throw redirectFault(from, 'redirects to what is no address');
  }
  if (url.protocol === 'https:' || (url.protocol === 'http:' && from.protocol === 'http:')) return url;
  throw redirectFault(from, `redirects to a ${url.protocol} address, which is less safe`);
}

function redirectFault(url: URL, what: string): EspalierError {
  return new EspalierError(
    'E_DOWNLOAD',
    `${url.host} ${what}.`,
    'Check the address; the server may be set up wrongly.',
  );
}

/** Gives a body up that nobody reads. */
export function drop(response: Response): void {
  response.body?.cancel().catch(() => {});
}

/** Whether an answer holds a file or a part of one: others of 200 to 299 say that there is nothing to send. */
export function hasContent({ status }: Response): boolean {
  return status === 200 || status === 203 || status === 206;
}

/**
 * What an answer that is none means: a Transient, or an E_DOWNLOAD that says what to do.
 * @param what was asked for, as a noun
 */
export function refusal(response: Response, what: string, session: Session): Transient | EspalierError {
  drop(response);
  const { status, headers, url } = response;
  if (status === 408 || status === 425 || status === 429 || status >= 500) {
    return new Transient('status', `${hostOf(url)} answered HTTP ${status}`, { after: patienceOf(headers) });
  }
  const fail = (message: string, hint: string) => new EspalierError('E_DOWNLOAD', message, hint);
  const reason = headers.get('x-error-code');
  const token = session.token === null ? 'Pass a token (HF_TOKEN)' : 'Check that the token is right and may read it';
  if (status === 401 || status === 403) {
    return reason === 'GatedRepo'
      ? fail(`${what} is gated (HTTP ${status}).`, `Ask for access on the model's page. ${token}.`)
      : fail(`${what} is private, gated, or does not exist (HTTP ${status}).`, `Check the name. ${token}.`);
  }
  if (status === 404 || status === 410) {
    const missing = reason === 'RevisionNotFound' ? `the revision of ${what}` : what;
    return fail(`There is no ${missing} at ${hostOf(url)} (HTTP ${status}).`, 'Check the address.');
  }
  return fail(`${hostOf(url)} answered HTTP ${status} for ${what}.`, 'Check the address.');
}

/** Milliseconds that a server asks to wait: it gives seconds, or a date. */
function patienceOf(headers: Headers): number {
  const text = headers.get('retry-after') ?? '';
  const after = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now();
  return Number.isFinite(after) ? Math.max(after, 0) : 0;
}

function hostOf(url: string): string {
  return URL.canParse(url) ? new URL(url).host : 'the server';
}

/** The whole of a small answer. @throws Transient when it breaks off; E_DOWNLOAD when it is longer than `max` bytes */
export async function readBody(response: Response, attempt: Attempt, max: number): Promise<string> {
  const decoder = new TextDecoder();
  let text = '';
  let length = 0;
  for await (const bytes of chunks(response, attempt)) {
    length += bytes.byteLength;
    if (length > max) {
      throw new EspalierError('E_DOWNLOAD', `An answer has more than ${max} bytes.`, 'Check the address of the hub.');
    }
    text += decoder.decode(bytes, { stream: true });
  }
  return text + decoder.decode();
}

const isDeno = (): boolean => 'Deno' in globalThis;

/** The body as it is meant: other hosts unpack by themselves, Deno nothing that was to come plain. @throws E_DOWNLOAD for what it cannot unpack */
function unpacked({ body, headers, url }: Response): ReadableStream<Uint8Array> | null {
  const coding = headers.get('content-encoding')?.toLowerCase() ?? 'identity';
  if (body === null || coding === 'identity' || !isDeno()) return body;
  if (coding === 'gzip' || coding === 'deflate') {
    return body.pipeThrough(new DecompressionStream(coding) as ReadableWritablePair<Uint8Array, Uint8Array>);
  }
  throw new EspalierError(
    'E_DOWNLOAD',
    `${hostOf(url)} answers in ${coding}, which was not asked for.`,
    'Fetch the file another way, and give its path.',
  );
}

/** The pieces of a body. @throws Transient when it breaks off */
export async function* chunks(response: Response, attempt: Attempt): AsyncGenerator<Uint8Array> {
  const reader = unpacked(response)?.getReader();
  if (!reader) return;
  try {
    for (;;) {
      let piece: ReadableStreamReadResult<Uint8Array>;
      try {
        piece = await untilAbort(reader.read(), attempt.signal);
      } catch (cause) {
        throw new Transient('broken', attempt.why('the connection broke off'), { cause });
      }
      if (piece.done) return;
      attempt.alive(piece.value.byteLength);
      yield piece.value;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** A host's stream may stay silent although its request is aborted: Node's, where what is packed cannot be unpacked. */
function untilAbort<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason);
    const done = (): void => signal.removeEventListener('abort', abort);
    signal.addEventListener('abort', abort);
    work.then(resolve, reject).finally(done);
    if (signal.aborted) abort();
  });
}

/** Waits; an abort ends it early, and whoever waits looks at the signal. */
export function delay(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    signal?.addEventListener('abort', done);
    if (signal?.aborted) done();
  });
}
