/** What is known of every example of a data set: 28 bytes each, so that millions of them cost little beside a model. */
export interface IndexEntry {
  /** Which file. */
  readonly file: number;
  /** Bytes of its record. */
  readonly offset: number;
  readonly length: number;
  /** From 1. */
  readonly line: number;
  /** Which piece of a text it is. */
  readonly piece: number;
  /** A hash of what it asks. Examples that ask the same have the same one. */
  readonly key: number;
  /** `hashBytes` of its record: of a file that has changed since, nothing is taken. */
  readonly sum: number;
}

/** Entries in typed arrays that grow. */
export class IndexTable {
  #offsets = new Float64Array(1024);
  /** [n, 5]: length, line, piece, key, sum */
  #words = new Uint32Array(5120);
  /** Of each file, its first entry. */
  readonly #files: number[] = [];
  #count = 0;

  get count(): number {
    return this.#count;
  }

  /** What is added from now on stands in the next file. */
  nextFile(): void {
    this.#files.push(this.#count);
  }

  add(entry: Omit<IndexEntry, 'file'>): void {
    const at = this.#count++;
    if (at === this.#offsets.length) {
      const offsets = new Float64Array(2 * at);
      offsets.set(this.#offsets);
      this.#offsets = offsets;
      const words = new Uint32Array(10 * at);
      words.set(this.#words);
      this.#words = words;
    }
    this.#offsets[at] = entry.offset;
    this.#words.set([entry.length, entry.line, entry.piece, entry.key, entry.sum], 5 * at);
  }

  at(index: number): IndexEntry {
    let low = 0;
    let high = this.#files.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#files[middle]! <= index) low = middle;
      else high = middle - 1;
    }
    const [length, line, piece, key, sum] = this.#words.subarray(5 * index, 5 * index + 5);
    return {
      ...{ file: low, offset: this.#offsets[index]!, length: length!, line: line!, piece: piece!, key: key! },
      sum: sum!,
    };
  }

  /** Whether the entry behind it stands in another file, or there is none. */
  endsFile(index: number): boolean {
    return index + 1 >= this.#count || this.at(index + 1).file !== this.at(index).file;
  }

  key(index: number): number {
    return this.#words[5 * index + 3]!;
  }
}

/** A hash of 32 bits (MurmurHash3's mixing over UTF-16 units): equal texts in every runtime have equal ones. */
export function hashText(text: string, seed = 0): number {
  let h = seed | 0;
  for (let i = 0; i < text.length; i++) {
    h = mixed(h, text.charCodeAt(i));
  }
  return ended(h, text.length);
}

/** The same over bytes, four at a time. */
export function hashBytes(bytes: Uint8Array): number {
  let h = 0;
  const whole = bytes.length - (bytes.length % 4);
  for (let i = 0; i < whole; i += 4) {
    h = mixed(h, bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24));
  }
  for (let i = whole; i < bytes.length; i++) h = mixed(h, bytes[i]!);
  return ended(h, bytes.length);
}

function mixed(hash: number, unit: number): number {
  const h = Math.imul(hash ^ Math.imul(unit, 0xcc9e2d51), 0x1b873593);
  return (((h << 13) | (h >>> 19)) + 0x52dce729) | 0;
}

function ended(hash: number, length: number): number {
  let h = Math.imul(hash ^ (hash >>> 16) ^ length, 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
