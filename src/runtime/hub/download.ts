import { EspalierError, throwIfAborted } from '../../errors.ts';
import type { BlobWriter } from '../cache/types.ts';
import { tooLarge } from '../files/file-limits.ts';
import { createHasher } from '../files/hash.ts';
import type { Hasher } from '../files/hasher.ts';
import type { ByteSource } from '../files/source.ts';
import { hasNode } from '../host/types.ts';
import { type Attempt, chunks, delay, drop, hasContent, refusal, request, Transient, withRetries } from './http.ts';
import type { Session } from './session.ts';

/** Milliseconds between two looks at a file that somebody else downloads. */
const POLL = 200;
/** After so many more bytes, earlier failures no longer count. */
const PROGRESS = 1 << 20;
const REHASH = 1 << 20;
const MAX_ROUNDS = 3;

/** One file as a server promises it. */
export interface Remote {
  /** Its name in the model. */
  readonly file: string;
  /** Its name in messages. */
  readonly label: string;
  readonly url: string;
  /** Its key in the cache; of `sha256-` and `git-` also what its content must be. */
  readonly blob: string;
  readonly size: number | null;
  /** What the server calls this version, where nothing else tells it from another. Null: a cut download starts again from zero. */
  readonly version: Version | null;
  /** Most bytes that are read of it, decoded ones where it comes compressed; null: no limit. */
  readonly limit: number | null;
}

export interface Version {
  /** Changes with the content: an ETag, or the time of the last change. */
  readonly name: string;
  /** The same as `If-Range` takes it, or null when it promises too little. */
  readonly strong: string | null;
}

/** A file in the cache. */
export interface Downloaded extends ByteSource {
  /** Of one that was downloaded now and whose key in the cache does not tell it. */
  readonly sha256?: string | undefined;
}

/** Another version stands on the server now than the one that was begun. */
export class Changed extends Error {}

/**
 * Opens a file from the cache, after downloading it where it is not there. Downloads go on where an earlier one, of any
 * process, has ended, and are checked before they count as there. When somebody else downloads the same, that is waited for.
 *
 * @throws E_OFFLINE, E_DOWNLOAD, E_DOWNLOAD_CORRUPT, E_STORAGE_FULL, E_FILE_WRITE, E_ABORTED (what was loaded is kept);
 *   E_CHECKPOINT_HEADER for a small file above its limit, E_CHECKPOINT_FORMAT for weights of unknown length that are none, of which
 *   nothing is kept; Changed where only the version tells what the content is
 */
export async function download(remote: Remote, session: Session): Promise<Downloaded> {
  const { cache, meter, signal } = session;
  let sha256: string | undefined;
  for (let rounds = 0; ; ) {
    throwIfAborted(signal);
    const there = await cache.open(remote.blob, remote.size ?? undefined);
    if (there) {
      meter.have(remote.file, there.size);
      return { ...there, name: remote.label, sha256 };
    }
    if (session.offline) throw notCached(remote.label, session);
    checkLimit(remote, remote.size);
    const { writer, loaded } = await cache.claim(remote.blob);
    if (!writer) {
      meter.report(remote.file, loaded, remote.size);
      // not all at the same time
      await delay(POLL * (0.5 + Math.random()), signal);
      continue;
    }
    const finished = await cache.open(remote.blob, remote.size ?? undefined);
    if (finished) {
      await finished.close();
      await writer.discard();
      continue;
    }
    if (++rounds > MAX_ROUNDS) {
      await writer.release();
      throw new EspalierError(
        'E_FILE_WRITE',
        `${remote.label} disappears from the cache as soon as it is there.`,
        'Look for what removes files there, or choose another folder with ESPALIER_CACHE.',
      );
    }
    sha256 = await fill(remote, writer, session);
  }
}

export function notCached(label: string, { cache, offline }: Session, cause?: unknown): EspalierError {
  const where = `${label} is not (completely) in the cache in ${cache.name}`;
  return offline && cause === undefined
    ? new EspalierError('E_OFFLINE', `${where}, and the network is not to be used.`, 'Open it once without offline.')
    : new EspalierError(
        'E_OFFLINE',
        `${where}, and ${cause instanceof Error ? cause.message : 'there is no connection'}.`,
        'Check the connection (in a browser also whether the server allows other sites, CORS) and try again.',
        { cause },
      );
}

/** The checksum of what came, where the blob's key does not tell it. */
async function fill(remote: Remote, writer: BlobWriter, session: Session): Promise<string | undefined> {
  const filling = new Filling(remote, writer, session);
  try {
    await filling.resume();
    await withRetries(session, (attempt) => filling.run(attempt));
    session.meter.report(remote.file, writer.size, writer.size);
  } catch (cause) {
    const error = cause instanceof Transient ? explained(cause, remote, writer.size, session) : cause;
    const { code } = error as { code?: unknown };
    const useless = error instanceof Changed || USELESS.has(code);
    await (useless ? writer.discard() : writer.release()).catch(() => {});
    throw error;
  }
  await writer.commit();
  return filling.sha256;
}

/** Failures after which what came is of no use. */
const USELESS: ReadonlySet<unknown> = new Set(['E_DOWNLOAD_CORRUPT', 'E_CHECKPOINT_HEADER', 'E_CHECKPOINT_FORMAT']);

/** @throws E_CHECKPOINT_HEADER for more bytes than are read of such a file */
function checkLimit({ label, limit }: Remote, bytes: number | null, isWhole = true): void {
  if (limit !== null && bytes !== null && bytes > limit) throw tooLarge(label, isWhole ? bytes : null, limit);
}

/** A failure that did not pass. */
function explained(failure: Transient, { label }: Remote, loaded: number, session: Session): EspalierError {
  if (failure.kind === 'unreachable' && session.reached.size === 0) return notCached(label, session, failure);
  if (failure.kind === 'short') return corrupt(label, failure.message);
  return new EspalierError(
    'E_DOWNLOAD',
    `${label} could not be downloaded: ${failure.message}, ${session.retries + 1} times in a row.`,
    `Try again later${loaded > 0 ? `; it goes on after the ${loaded} bytes that are there` : ''}.`,
    { cause: failure },
  );
}

/** A file on its way into the cache. */
class Filling {
  readonly #remote: Remote;
  readonly #writer: BlobWriter;
  readonly #session: Session;
  readonly #digest: { name: 'sha256' | 'sha1'; hex: string } | null;
  #hasher: Hasher | null = null;
  /** The most bytes that were there at once. */
  #best: number;
  /** Whether the bytes come from several answers, so that a wrong sum may be the fault of putting them together. */
  #mixed: boolean;
  #restarted = false;
  /** Set in the end, where nothing says what it must be. */
  sha256: string | undefined;

  constructor(remote: Remote, writer: BlobWriter, session: Session) {
    this.#remote = remote;
    this.#writer = writer;
    this.#session = session;
    this.#best = writer.size;
    this.#mixed = writer.size > 0;
    const [, kind, hex] = /^(sha256|git)-(.*)$/.exec(remote.blob) ?? [];
    this.#digest = hex === undefined ? null : { name: kind === 'git' ? 'sha1' : 'sha256', hex };
  }

  /** Takes up what is there already. */
  async resume(): Promise<void> {
    const { size } = this.#remote;
    const kept = this.#writer.size;
    await this.#beginHash();
    if ((size !== null && kept > size) || !this.#canResume) return this.#restart();
    if (!this.#hasher || kept === 0) return;
    const buffer = new Uint8Array(Math.min(REHASH, kept));
    for (let at = 0; at < kept; at += buffer.byteLength) {
      throwIfAborted(this.#session.signal);
      const part = buffer.subarray(0, kept - at);
      await this.#writer.read(at, part);
      this.#hasher.update(part);
    }
  }

  async run(attempt: Attempt): Promise<void> {
    const { label, size } = this.#remote;
    if (size === null || this.#writer.size < size) await this.#fetch(attempt);
    const hex = this.#hasher!.hex();
    if (!this.#digest) {
      this.sha256 = hex;
      return;
    }
    if (hex === this.#digest.hex) return;
    const what = `its ${this.#digest.name} is ${hex} instead of ${this.#digest.hex}`;
    if (!this.#mixed || this.#restarted) throw corrupt(label, what);
    await this.#restart();
    this.#restarted = true;
    throw new Transient('broken', what);
  }

  async #fetch(attempt: Attempt): Promise<void> {
    const { label, url, size, version } = this.#remote;
    if (!this.#canResume) await this.#restart();
    const from = this.#writer.size;
    const response = await request(url, this.#session, attempt, { headers: this.#headers(from) });
    const answered = rangeOf(response);
    if (response.status === 416 && from > 0) {
      drop(response);
      if (size !== null && answered.total !== null && answered.total !== size)
        throw wrongSize(label, answered.total, size);
      await this.#restart();
      throw new Transient('broken', 'the server does not have the rest');
    }
    if (!hasContent(response)) throw refusal(response, label, this.#session);
    if (!this.#digest && (versionOf(response)?.name ?? null) !== (version?.name ?? null)) {
      drop(response);
      throw new Changed(`${label} has changed on the server.`);
    }
    const partial = response.status === 206;
    if (partial && !isPartFrom(response, answered.from, from)) {
      drop(response);
      await this.#restart();
      throw new Transient('broken', 'the server sent another part of the file');
    }
    if (from > 0 && partial) this.#mixed = true;
    else if (from > 0) await this.#restart();
    const promised = partial ? answered.total : lengthOf(response);
    if (size !== null && promised !== null && promised !== size) {
      drop(response);
      throw wrongSize(label, promised, size);
    }
    try {
      checkLimit(this.#remote, promised);
    } catch (error) {
      drop(response);
      throw error;
    }
    await this.#take(response, attempt, size ?? promised);
  }

  #headers(from: number): Record<string, string> {
    // with a range, nothing is compressed anyway
    if (from === 0) return { 'Accept-Encoding': 'identity' };
    const strong = this.#digest ? null : (this.#remote.version?.strong ?? null);
    // in a browser the header would need the leave of a server elsewhere; the answer's version is compared instead
    const condition = strong !== null && hasNode() ? { 'If-Range': strong } : undefined;
    return { Range: `bytes=${from}-`, ...condition };
  }

  async #take(response: Response, attempt: Attempt, total: number | null): Promise<void> {
    const { file, label } = this.#remote;
    const writer = this.#writer;
    this.#session.meter.report(file, writer.size, total);
    for await (const bytes of chunks(response, attempt)) {
      if (total === null && writer.size < START) checkStart(this.#remote, writer.size, bytes);
      if (total !== null && writer.size + bytes.byteLength > total) {
        throw corrupt(label, `the server sends more than its ${total} bytes`);
      }
      checkLimit(this.#remote, writer.size + bytes.byteLength, false);
      this.#hasher?.update(bytes);
      await writer.write(bytes);
      if (writer.size >= this.#best + PROGRESS) {
        this.#best = writer.size;
        attempt.progressed = true;
      }
      if (writer.size !== total) this.#session.meter.report(file, writer.size, total);
    }
    if (total === null || writer.size === total) return;
    throw new Transient('short', `it ends after ${writer.size} of ${total} bytes`);
  }

  async #beginHash(): Promise<void> {
    this.#hasher = await createHasher(this.#digest?.name ?? 'sha256');
    // a git blob's sum begins with its length
    if (this.#digest?.name === 'sha1') this.#hasher.update(new TextEncoder().encode(`blob ${this.#remote.size}\0`));
  }

  /** Whether it is certain what the bytes that are there belong to. */
  get #canResume(): boolean {
    return this.#digest !== null || (this.#remote.version?.strong ?? null) !== null;
  }

  async #restart(): Promise<void> {
    if (this.#writer.size > 0) await this.#writer.reset();
    await this.#beginHash();
    this.#mixed = false;
  }
}

/** Bytes that tell a file of weights from another. */
const START = 9;
const GGUF = [0x47, 0x47, 0x55, 0x46];
const BRACE = 0x7b;

/**
 * A body of unknown length may never end, and weights have no limit: what is none is not taken further.
 * @param at where in the file `bytes` stand
 * @throws E_CHECKPOINT_FORMAT
 */
function checkStart({ file, label }: Remote, at: number, bytes: Uint8Array): void {
  const wanted = (place: number): number | undefined => {
    if (/\.gguf$/i.test(file)) return GGUF[place];
    // the header's text begins behind its length
    return /\.safetensors$/i.test(file) && place === START - 1 ? BRACE : undefined;
  };
  for (let i = 0; i < Math.min(bytes.byteLength, START - at); i++) {
    const want = wanted(at + i);
    if (want === undefined || bytes[i] === want) continue;
    throw new EspalierError(
      'E_CHECKPOINT_FORMAT',
      `What the server sends for ${label} is no file of weights.`,
      'Check the address, and look at what it answers.',
    );
  }
}

/** What an answer calls the version that it gives. */
export function versionOf({ headers }: Response): Version | null {
  const etag = headers.get('etag');
  const changed = headers.get('last-modified');
  if (etag !== null) return { name: etag.replace(/^W\//, ''), strong: etag.startsWith('"') ? etag : changed };
  return changed === null ? null : { name: changed, strong: isPast(changed, headers.get('date')) ? changed : null };
}

/** Whether a file that changes once more would have another time of its last change: times have a grain of a second. */
function isPast(changed: string, now: string | null): boolean {
  // from another site a browser hides the server's clock
  return now === null || !(Date.parse(now) - Date.parse(changed) < 1000);
}

/** Whether a partial answer is the file's bytes from `wanted` on. */
function isPartFrom(response: Response, from: number | null, wanted: number): boolean {
  // what is compressed has other offsets, and would be decompressed
  if (response.headers.get('content-encoding') !== null) return false;
  // from another site a browser hides which part it is
  return from === null ? response.type === 'cors' && !hasNode() : from === wanted;
}

/** The length of a whole file, unless it is that of something compressed or may be. */
export function lengthOf({ headers, type }: Response): number | null {
  // from another site a browser shows the length and hides whether it is that of the content
  if (headers.get('content-encoding') !== null || (type === 'cors' && !hasNode())) return null;
  return wholeNumber(headers.get('content-length'));
}

function rangeOf({ headers }: Response): { from: number | null; total: number | null } {
  const [, from, total] = /^bytes (?:(\d+)-\d+|\*)\/(\d+|\*)$/.exec(headers.get('content-range') ?? '') ?? [];
  return { from: wholeNumber(from), total: wholeNumber(total) };
}

function wholeNumber(text: string | null | undefined): number | null {
  const value = /^\d+$/.test(text ?? '') ? Number(text) : Number.NaN;
  return Number.isSafeInteger(value) ? value : null;
}

function wrongSize(label: string, found: number, wanted: number): EspalierError {
  return corrupt(label, `the server has ${found} bytes instead of ${wanted}`);
}

function corrupt(label: string, what: string): EspalierError {
  return new EspalierError(
    'E_DOWNLOAD_CORRUPT',
    `${label} is not what was promised: ${what}.`,
    'Try again; when it happens twice, the server or something on the way to it changes files.',
  );
}
