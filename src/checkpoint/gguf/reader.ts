import { EspalierError } from '../../errors.ts';
import { truncated } from '../../runtime/files/model-files.ts';
import type { ByteSource } from '../../runtime/files/source.ts';

/** A number array as the file stores it; booleans are bytes 0 and 1. */
export type GgufNumbers =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | Float32Array
  | BigUint64Array
  | BigInt64Array
  | Float64Array;

/** A metadata value: 64-bit integers are bigint; arrays of strings or of arrays are plain, arrays of numbers typed. */
export type GgufValue = number | bigint | boolean | string | GgufNumbers | GgufValue[];

/** ggml's numbers of metadata types that code asks for by name. */
export const GGUF_TYPE = { u32: 4, f32: 6, bool: 7, string: 8, array: 9, f64: 12 } as const;

interface Scalar {
  readonly bytes: number;
  readonly read: (view: DataView, at: number) => number | bigint;
  readonly array: new (buffer: ArrayBuffer) => GgufNumbers;
}

const SCALARS: ReadonlyMap<number, Scalar> = new Map<number, Scalar>([
  [0, { bytes: 1, read: (v, at) => v.getUint8(at), array: Uint8Array }],
  [1, { bytes: 1, read: (v, at) => v.getInt8(at), array: Int8Array }],
  [2, { bytes: 2, read: (v, at) => v.getUint16(at, true), array: Uint16Array }],
  [3, { bytes: 2, read: (v, at) => v.getInt16(at, true), array: Int16Array }],
  [4, { bytes: 4, read: (v, at) => v.getUint32(at, true), array: Uint32Array }],
  [5, { bytes: 4, read: (v, at) => v.getInt32(at, true), array: Int32Array }],
  [6, { bytes: 4, read: (v, at) => v.getFloat32(at, true), array: Float32Array }],
  [7, { bytes: 1, read: (v, at) => v.getUint8(at), array: Uint8Array }],
  [10, { bytes: 8, read: (v, at) => v.getBigUint64(at, true), array: BigUint64Array }],
  [11, { bytes: 8, read: (v, at) => v.getBigInt64(at, true), array: BigInt64Array }],
  [12, { bytes: 8, read: (v, at) => v.getFloat64(at, true), array: Float64Array }],
]);

/** Metadata may nest arrays; nothing real goes beyond one level. */
const MAX_ARRAY_DEPTH = 4;
const CHUNK = 1 << 20;

/**
 * Reads a GGUF header from front to back through a window of a megabyte. Every length in the file is held against what is
 * left of the file before anything of that size is allocated.
 */
export class GgufReader {
  readonly #source: ByteSource;
  readonly #text = new TextDecoder('utf-8');
  readonly #strictText = new TextDecoder('utf-8', { fatal: true });
  #window: Uint8Array = new Uint8Array(0);
  #view = new DataView(new ArrayBuffer(0));
  /** Where the window begins in the file, and where in it the next byte stands. */
  #windowStart = 0;
  #at = 0;

  constructor(source: ByteSource) {
    this.#source = source;
  }

  /** Offset in the file of the next byte. */
  get position(): number {
    return this.#windowStart + this.#at;
  }

  get remaining(): number {
    return this.#source.size - this.position;
  }

  fault(what: string): EspalierError {
    return new EspalierError('E_CHECKPOINT_HEADER', `${this.#source.name}: ${what}.`, 'Download or convert it again.');
  }

  async u32(): Promise<number> {
    const wait = this.#ensure(4);
    if (wait) await wait;
    this.#at += 4;
    return this.#view.getUint32(this.#at - 4, true);
  }

  async u64(): Promise<bigint> {
    const wait = this.#ensure(8);
    if (wait) await wait;
    return this.#takeU64();
  }

  /** A count of things that take at least `minBytes` each, which must therefore fit into the rest of the file. */
  async count(minBytes: number, what: string): Promise<number> {
    const wait = this.#ensure(8);
    if (wait) await wait;
    return this.#takeCount(minBytes, what);
  }

  /** A name: at most `maxBytes` of valid UTF-8. */
  async name(maxBytes: number, what: string): Promise<string> {
    const length = await this.count(1, what);
    if (length > maxBytes) throw this.fault(`${what} is ${length} bytes long`);
    const wait = this.#ensure(length);
    if (wait) await wait;
    try {
      return this.#strictText.decode(this.#take(length));
    } catch {
      throw this.fault(`${what} is not UTF-8`);
    }
  }

  /** One metadata value of a type, which was read before it. */
  async value(key: string, type: number): Promise<GgufValue> {
    if (type === GGUF_TYPE.array) return this.#array(key, 1);
    if (type === GGUF_TYPE.string) return this.#string(key);
    const scalar = SCALARS.get(type);
    if (!scalar) throw this.fault(`${key} has the unknown type ${type}`);
    const wait = this.#ensure(scalar.bytes);
    if (wait) await wait;
    const value = scalar.read(this.#view, this.#at);
    this.#at += scalar.bytes;
    if (type !== GGUF_TYPE.bool) return value;
    if (value !== 0 && value !== 1) throw this.fault(`${key} is a boolean with the value ${value}`);
    return value === 1;
  }

  async #string(key: string): Promise<string> {
    const length = await this.count(1, `the text ${key}`);
    const wait = this.#ensure(length);
    if (wait) await wait;
    // not strict: a vocabulary may hold pieces that are no whole characters
    return this.#text.decode(this.#take(length));
  }

  async #array(key: string, depth: number): Promise<GgufValue> {
    if (depth > MAX_ARRAY_DEPTH) throw this.fault(`${key} nests arrays deeper than ${MAX_ARRAY_DEPTH}`);
    const type = await this.u32();
    const scalar = SCALARS.get(type);
    if (scalar) {
      const length = await this.count(scalar.bytes, `the array ${key}`);
      const wait = this.#ensure(length * scalar.bytes);
      if (wait) await wait;
      // copied: the window is not aligned for the elements and goes away
      const bytes = this.#take(length * scalar.bytes).slice();
      if (type === GGUF_TYPE.bool && bytes.some((byte) => byte > 1))
        throw this.fault(`${key} has a boolean that is none`);
      return new scalar.array(bytes.buffer as ArrayBuffer);
    }
    if (type === GGUF_TYPE.string) {
      const length = await this.count(8, `the array ${key}`);
      const texts: string[] = [];
      for (let i = 0; i < length; i++) {
        // without a promise a piece while the window lasts: vocabularies have hundreds of thousands
        let wait = this.#ensure(8);
        if (wait) await wait;
        const bytes = this.#takeCount(1, `a text of ${key}`);
        wait = this.#ensure(bytes);
        if (wait) await wait;
        texts.push(this.#text.decode(this.#take(bytes)));
      }
      return texts;
    }
    if (type !== GGUF_TYPE.array) throw this.fault(`${key} is an array of the unknown type ${type}`);
    const length = await this.count(12, `the array ${key}`);
    const nested: GgufValue[] = [];
    for (let i = 0; i < length; i++) nested.push(await this.#array(key, depth + 1));
    return nested;
  }

  #takeU64(): bigint {
    this.#at += 8;
    return this.#view.getBigUint64(this.#at - 8, true);
  }

  #takeCount(minBytes: number, what: string): number {
    const count = this.#takeU64();
    if (count * BigInt(minBytes) > BigInt(this.remaining)) {
      // no honest file of any length has such a count
      if (count > Number.MAX_SAFE_INTEGER) throw this.fault(`${what} would have ${count} elements`);
      throw truncated(this.#source.name, this.#source.size, this.position + Number(count) * minBytes);
    }
    return Number(count);
  }

  #take(bytes: number): Uint8Array {
    this.#at += bytes;
    return this.#window.subarray(this.#at - bytes, this.#at);
  }

  /** Brings `bytes` more into the window; undefined when they are there. */
  #ensure(bytes: number): Promise<void> | undefined {
    return this.#window.length - this.#at >= bytes ? undefined : this.#refill(bytes);
  }

  async #refill(bytes: number): Promise<void> {
    const start = this.position;
    const left = this.#source.size - start;
    if (bytes > left) throw truncated(this.#source.name, this.#source.size, start + bytes);
    const window = new Uint8Array(Math.min(left, Math.max(bytes, CHUNK)));
    await this.#source.readInto(start, window);
    this.#window = window;
    this.#view = new DataView(window.buffer);
    this.#windowStart = start;
    this.#at = 0;
  }
}
