import { sha256Bytes } from './hash.ts';

/** Bytes that are hashed at a time. Part of what a digest means. */
const CHUNK = 1 << 20;
/** Chunks that are hashed at once, at most: what waits is copied, and memory is bounded. */
const AT_ONCE = 4;

/**
 * SHA-256 of a long content that comes piece by piece: over the SHA-256 of each MiB of it. It does not depend on how the content is
 * cut into pieces. In this shape the host's own hash can be used everywhere, beside the thread that asks for it: Web Crypto takes only
 * whole inputs, and hashes them elsewhere.
 */
export class ByteDigest {
  #length = 0;
  #chunk: Uint8Array<ArrayBuffer> | null = null;
  #fill = 0;
  readonly #sums: Promise<Uint8Array>[] = [];

  /** Bytes that it has seen. */
  get length(): number {
    return this.#length;
  }

  /** Appends. The array may be reused when the call has returned; who hands over much waits for the promise. */
  update(bytes: Uint8Array): Promise<unknown> | undefined {
    this.#length += bytes.byteLength;
    for (let done = 0; done < bytes.byteLength; ) {
      const rest = bytes.byteLength - done;
      // Web Crypto copies what it is given before it returns, but takes no shared memory
      if (this.#fill === 0 && rest >= CHUNK && bytes.buffer instanceof ArrayBuffer) {
        this.#hash(bytes.subarray(done, done + CHUNK) as Uint8Array<ArrayBuffer>);
        done += CHUNK;
        continue;
      }
      const count = Math.min(rest, CHUNK - this.#fill);
      this.#room(this.#fill + count).set(bytes.subarray(done, done + count), this.#fill);
      this.#fill += count;
      done += count;
      if (this.#fill === CHUNK) this.#flush();
    }
    return this.#sums.at(-AT_ONCE);
  }

  /** The digest in lower case. Nothing can be appended afterwards. */
  async hex(): Promise<string> {
    if (this.#fill > 0) this.#flush();
    this.#chunk = null;
    const sums = await Promise.all(this.#sums);
    const all = new Uint8Array(32 * sums.length);
    for (const [i, sum] of sums.entries()) all.set(sum, 32 * i);
    return hexOf(await sha256Bytes(all));
  }

  #flush(): void {
    this.#hash(this.#chunk!.subarray(0, this.#fill));
    this.#fill = 0;
  }

  #hash(bytes: Uint8Array<ArrayBuffer>): void {
    const sum = sha256Bytes(bytes);
    sum.catch(() => {}); // whoever asks for the digest has it
    this.#sums.push(sum);
  }

  /** The chunk, grown to hold so many bytes: most tensors of small models are far below a MiB. */
  #room(bytes: number): Uint8Array<ArrayBuffer> {
    const before = this.#chunk;
    if (before !== null && before.byteLength >= bytes) return before;
    const grown = new Uint8Array(Math.min(CHUNK, Math.max(bytes, 2 * (before?.byteLength ?? 0))));
    if (before !== null) grown.set(before.subarray(0, this.#fill));
    this.#chunk = grown;
    return grown;
  }
}

export function hexOf(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
