import { configInvalid, unsupported } from '../config/faults.ts';
import { GGUF_TYPE, type GgufValue } from './reader.ts';

const FLOATS: ReadonlySet<number | undefined> = new Set([GGUF_TYPE.f32, GGUF_TYPE.f64]);

/** The metadata of one architecture, by type. It remembers what was asked for, as `ConfigKeys` does. */
export class GgufKeys {
  readonly #metadata: ReadonlyMap<string, GgufValue>;
  readonly #types: ReadonlyMap<string, number>;
  readonly #architecture: string;
  readonly #name: string;
  readonly #asked = new Set<string>();

  constructor(
    metadata: ReadonlyMap<string, GgufValue>,
    types: ReadonlyMap<string, number>,
    architecture: string,
    name: string,
  ) {
    this.#metadata = metadata;
    this.#types = types;
    this.#architecture = architecture;
    this.#name = name;
  }

  /** Keys of this architecture that nobody has asked for. */
  get unread(): string[] {
    return [...this.#metadata.keys()].filter(
      (key) => key.startsWith(`${this.#architecture}.`) && !this.#asked.has(key),
    );
  }

  /** A number of this architecture. */
  number(key: string): number | undefined {
    return this.#number(`${this.#architecture}.${key}`);
  }

  /** A number of an integer type: 2.0 is none, as in llama.cpp. */
  whole(key: string): number | undefined {
    const full = `${this.#architecture}.${key}`;
    const value = this.#number(full);
    if (value !== undefined && FLOATS.has(this.#types.get(full))) {
      throw configInvalid(this.#name, `${full} is stored as a floating point number, ${value}, not as a whole one`);
    }
    return value;
  }

  /** A whole number, or one for each layer, which must be the same here. */
  eachLayer(key: string, nLayers: number): number | undefined {
    const full = `${this.#architecture}.${key}`;
    const value = this.#value(full);
    if (!ArrayBuffer.isView(value)) return this.whole(key);
    const list = value as ArrayLike<number | bigint>;
    if (list.length < nLayers || list.length === 0) {
      throw configInvalid(this.#name, `${full} has ${list.length} entries for ${nLayers} layers`);
    }
    for (let i = 1; i < list.length; i++) {
      if (list[i] !== list[0]) throw unsupported(this.#name, `${full} differs from layer to layer`);
    }
    return Number(list[0]);
  }

  /** Whether something holds of each layer, by a list; undefined where no list is there. */
  layerFlags(key: string, nLayers: number): readonly boolean[] | undefined {
    const full = `${this.#architecture}.${key}`;
    const value = this.#value(full);
    if (!ArrayBuffer.isView(value)) return undefined;
    const list = Array.from(value as ArrayLike<number | bigint>, (flag) => Number(flag) !== 0);
    if (list.length === nLayers) return list;
    throw configInvalid(this.#name, `${full} has ${list.length} entries for ${nLayers} layers`);
  }

  need(key: string): number {
    return this.whole(key) ?? this.missing(key);
  }

  missing(key: string): never {
    throw configInvalid(this.#name, `${this.#architecture}.${key} is missing`);
  }

  text(key: string): string | undefined {
    const full = `${this.#architecture}.${key}`;
    const value = this.#value(full);
    if (value !== undefined && typeof value !== 'string') throw configInvalid(this.#name, `${full} is not a text`);
    return value;
  }

  token(key: string): number | null {
    const full = `tokenizer.ggml.${key}`;
    const value = this.#number(full);
    if (value === undefined) return null;
    if (FLOATS.has(this.#types.get(full))) throw configInvalid(this.#name, `${full} is ${value}, not a whole number`);
    return value;
  }

  #value(full: string): GgufValue | undefined {
    this.#asked.add(full);
    return this.#metadata.get(full);
  }

  #number(full: string): number | undefined {
    const value = this.#value(full);
    if (value === undefined) return undefined;
    if (typeof value !== 'number' && typeof value !== 'bigint') {
      throw configInvalid(this.#name, `${full} is not a number`);
    }
    const number = Number(value);
    if (!Number.isFinite(number)) throw configInvalid(this.#name, `${full} is ${number}`);
    return number;
  }
}
