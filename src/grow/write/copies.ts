import type { TensorEntry } from '../../checkpoint/types.ts';
import {
  checkStored,
  convertedBytes,
  isVerbatim,
  type ReadOptions,
  storedBytes,
} from '../../checkpoint/write/source-tensors.ts';
import type { OutputTensor } from '../../checkpoint/write/write-checkpoint.ts';
import { createHasher } from '../../runtime/files/hash.ts';
import type { OutputType } from '../types.ts';

/** Tensors up to this many bytes are kept while a layer is written, since each expert gets its own copy. */
const KEPT = 32 << 20;

/** What was copied byte for byte, for the receipt. */
export interface CopiedRange {
  /** Canonical name in the source. */
  readonly name: string;
  readonly bytes: number;
  readonly sha256: string;
}

/** Hands out the source's tensors in the type of the output, and remembers checksums of those that are copied byte for byte. */
export class Copies {
  readonly #type: OutputType;
  readonly #options: ReadOptions;
  readonly #kept = new Map<string, Uint8Array[]>();
  readonly #ranges = new Map<string, CopiedRange>();

  constructor(type: OutputType, options: ReadOptions) {
    this.#type = type;
    this.#options = options;
  }

  /** Ranges whose checksum was taken since the last call. */
  takeRanges(): CopiedRange[] {
    const ranges = [...this.#ranges.values()];
    this.#ranges.clear();
    return ranges;
  }

  /** A tensor that is copied as a whole, under its own name or another. */
  tensor(entry: TensorEntry, name: string = entry.name): OutputTensor {
    return { name, type: this.#type, shape: entry.shape, bytes: () => this.#read(entry, 1, null) };
  }

  /** The source's tensor times a power of two, in the type of the output; kept, if it is not too large, until `forget`. */
  async *bytes(entry: TensorEntry, scale = 1): AsyncGenerator<Uint8Array> {
    const key = `${entry.name} ${scale}`;
    const kept = this.#kept.get(key);
    if (kept) {
      yield* kept;
      return;
    }
    const pieces: Uint8Array[] = [];
    yield* this.#read(entry, scale, pieces);
    if (size(pieces) <= KEPT) this.#kept.set(key, pieces);
  }

  async *#read(entry: TensorEntry, scale: number, pieces: Uint8Array[] | null): AsyncGenerator<Uint8Array> {
    const verbatim = isVerbatim(entry, this.#type, scale);
    const hash = verbatim && !this.#ranges.has(entry.name) ? await createHasher('sha256') : null;
    const all = verbatim
      ? storedBytes(entry, this.#options.signal)
      : convertedBytes(entry, this.#type, scale, this.#options);
    for await (const piece of all) {
      if (verbatim) checkStored(piece, this.#type, entry.name);
      hash?.update(piece);
      if (pieces && size(pieces) <= KEPT) pieces.push(piece);
      yield piece;
    }
    if (hash) this.#ranges.set(entry.name, { name: entry.name, bytes: entry.byteLength, sha256: hash.hex() });
  }

  /** Lets go of what is kept. */
  forget(): void {
    this.#kept.clear();
  }
}

function size(pieces: readonly Uint8Array[]): number {
  return pieces.reduce((sum, { byteLength }) => sum + byteLength, 0);
}
