import { hasNode } from '../host/types.ts';
import { bytesOfHex, createHasher, sha256Bytes } from './hash.ts';
import type { Hasher, HashName } from './hasher.ts';

/** Bytes that are hashed at a time. Part of what a digest means. */
const CHUNK = 1 << 20;
/** Chunks that are hashed at once by Web Crypto, at most: it copies them, and memory is bounded. */
const AT_ONCE = 4;

/** Node's hashers, which stream; null where there is only Web Crypto. Undefined: not looked for yet. */
let streaming: ((name: HashName) => Hasher) | null | undefined;

/**
 * SHA-256 of a long content that comes piece by piece: over the SHA-256 of each MiB of it. It does not depend on how the content is
 * cut into pieces. In this shape the host's own hash can be used everywhere: Node's streams, and hashes the bytes where they lie
 * without a copy; Web Crypto takes only whole inputs, and hashes them beside this thread.
 */
export class ByteDigest {
  #length = 0;
  /** Bytes of the chunk that has begun. */
  #fill = 0;
  #hasher: Hasher | null = null;
  #chunk: Uint8Array<ArrayBuffer> | null = null;
  readonly #sums: (Uint8Array | Promise<Uint8Array>)[] = [];

  /** Bytes that it has seen. */
  get length(): number {
    return this.#length;
  }

  /** Appends. The array may be reused when the promise has resolved, and only then the next may come. */
  async update(bytes: Uint8Array): Promise<void> {
    if (streaming === undefined) streaming = hasNode() ? await (await import('./hash-node.ts')).hashers() : null;
    this.#length += bytes.byteLength;
    for (let done = 0; done < bytes.byteLength; ) {
      const count = Math.min(bytes.byteLength - done, CHUNK - this.#fill);
      const part = bytes.subarray(done, done + count);
      if (streaming) {
        this.#hasher ??= streaming('sha256');
        this.#hasher.update(part);
      } else if (count === CHUNK && bytes.buffer instanceof ArrayBuffer) {
        // it copies what it is given before it returns, but takes no shared memory
        this.#hashBeside(part as Uint8Array<ArrayBuffer>);
        done += count;
        continue;
      } else this.#room(this.#fill + count).set(part, this.#fill);
      this.#fill += count;
      done += count;
      if (this.#fill === CHUNK) this.#end();
    }
    if (!streaming) await this.#sums.at(-AT_ONCE);
  }

  /** The digest in lower case. Nothing can be appended afterwards. */
  async hex(): Promise<string> {
    if (this.#fill > 0) this.#end();
    this.#chunk = null;
    const all = streaming?.('sha256') ?? (await createHasher('sha256'));
    for (const sum of await Promise.all(this.#sums)) all.update(sum);
    return all.hex();
  }

  #end(): void {
    if (this.#hasher) this.#sums.push(bytesOfHex(this.#hasher.hex()));
    else this.#hashBeside(this.#chunk!.subarray(0, this.#fill));
    this.#hasher = null;
    this.#fill = 0;
  }

  #hashBeside(bytes: Uint8Array<ArrayBuffer>): void {
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
