import { toByteLevel } from './byte-level.ts';
import { invalidTokenizer } from './checks.ts';
import type { Pairs } from './pairs.ts';

export interface BpeOptions {
  readonly ids: ReadonlyMap<string, number>;
  readonly pairs: Pairs;
  /** The text of the token for characters that the vocabulary lacks; without it they are dropped. */
  readonly unknown: string | null;
  /** Whether a run of them is one token. */
  readonly fuseUnknown: boolean;
  /** Whether they are written in bytes, `<0x00>` to `<0xFF>`. */
  readonly byteFallback: boolean;
  /** Whether words are written in GPT-2's alphabet of bytes first. */
  readonly bytes: boolean;
  /** Whether a word that is a token as a whole is taken without merging. */
  readonly ignoreMerges: boolean;
  /** Put before the characters after a word's first, and after the last, when they are looked up. */
  readonly prefix: string;
  readonly suffix: string;
  /**
   * A character before which a word may be cut without changing what comes of it, and the UTF-16 units after which it may
   * not: those that stand before the mark inside a token. Null: words are not cut.
   */
  readonly cut: { readonly mark: string; readonly notAfter: ReadonlySet<number> } | null;
  /** Ids that no merge leads to, and that no word is taken for as a whole. */
  readonly without?: ReadonlySet<number>;
}

/** Words up to this length are remembered, this many of them. */
const CACHED_LENGTH = 64;
const CACHED_WORDS = 16_384;
/** Up to this many symbols, the best pair is looked for by going through all of them. */
const SHORT = 24;
/** Room for a symbol's place beside its rank in one number. */
const PLACES = 2 ** 29;

const ABSENT = -1;
const NOT_LOOKED_UP = -2;

/** Byte pair encoding: a word's characters, of which neighbours are merged, the earliest learnt first. */
export class Bpe {
  readonly #options: BpeOptions;
  readonly #characters = new Int32Array(65536).fill(NOT_LOOKED_UP);
  readonly #words = new Map<string, readonly number[]>();
  readonly #parts = new Map<string, readonly number[]>();
  readonly #bytes: readonly (number | undefined)[];
  // of the word at hand: its symbols as a list, and for each the rank of its merge with the next one
  #symbols = new Int32Array(256);
  #nexts = new Int32Array(256);
  #befores = new Int32Array(256);
  #ranks = new Int32Array(256);

  constructor(options: BpeOptions) {
    this.#options = options;
    this.#bytes = Array.from({ length: 256 }, (_, byte) =>
      options.ids.get(`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`),
    );
  }

  without(ids: ReadonlySet<number>): Bpe {
    return new Bpe({ ...this.#options, without: ids });
  }

  /** Adds the tokens of a word. @throws E_TOKENIZER_INVALID when it needs an unknown token that the vocabulary lacks */
  encode(word: string, out: number[]): void {
    const { bytes } = this.#options;
    this.#remembered(this.#words, word, out, () => this.#whole(bytes ? toByteLevel(word) : word, out));
  }

  #remembered(cache: Map<string, readonly number[]>, word: string, out: number[], compute: () => void): void {
    const known = cache.get(word);
    if (known !== undefined) {
      for (let i = 0; i < known.length; i++) out.push(known[i]!);
      return;
    }
    const from = out.length;
    compute();
    if (word.length > CACHED_LENGTH) return;
    if (cache.size >= CACHED_WORDS) cache.clear();
    cache.set(word, out.slice(from));
  }

  #whole(word: string, out: number[]): void {
    const { cut, ignoreMerges, ids, without } = this.#options;
    if (ignoreMerges) {
      const id = ids.get(word);
      if (id !== undefined && without?.has(id) !== true) {
        out.push(id);
        return;
      }
    }
    const part = (text: string) => this.#remembered(this.#parts, text, out, () => this.#merge(this.#split(text), out));
    let start = 0;
    if (cut !== null) {
      for (let at = word.indexOf(cut.mark, 1); at > 0; at = word.indexOf(cut.mark, at + 1)) {
        if (cut.notAfter.has(word.charCodeAt(at - 1))) continue;
        part(word.slice(start, at));
        start = at;
      }
    }
    part(start === 0 ? word : word.slice(start));
  }

  /** Writes a word's characters as symbols; says how many there are. */
  #split(word: string): number {
    const { unknown, fuseUnknown, byteFallback, ids } = this.#options;
    let count = 0;
    let waiting = -1; // an unknown token that is not written yet: more may be fused into it
    const add = (id: number) => {
      if (count === this.#symbols.length) this.#grow();
      this.#symbols[count++] = id;
    };
    for (let at = 0; at < word.length; ) {
      const code = word.codePointAt(at)!;
      const end = at + (code > 0xffff ? 2 : 1);
      const id = this.#character(word, code, at, end);
      if (id >= 0) {
        if (waiting >= 0) add(waiting);
        waiting = -1;
        add(id);
      } else if (!byteFallback || !this.#asBytes(this.#decorated(word, at, end), add)) {
        if (unknown !== null) {
          if (waiting >= 0 && !fuseUnknown) add(waiting);
          const found = ids.get(unknown);
          if (found === undefined) {
            throw invalidTokenizer(
              'The text has a character that the vocabulary lacks, as it lacks the unknown token.',
            );
          }
          waiting = found;
        }
      }
      at = end;
    }
    if (waiting >= 0) add(waiting);
    return count;
  }

  #decorated(word: string, at: number, end: number): string {
    const { prefix, suffix } = this.#options;
    return (at > 0 ? prefix : '') + word.slice(at, end) + (end === word.length ? suffix : '');
  }

  #character(word: string, code: number, at: number, end: number): number {
    const { prefix, suffix, ids } = this.#options;
    const decorated = (prefix !== '' && at > 0) || (suffix !== '' && end === word.length);
    if (decorated || code > 0xffff) return ids.get(this.#decorated(word, at, end)) ?? ABSENT;
    let id = this.#characters[code]!;
    if (id === NOT_LOOKED_UP) {
      id = ids.get(word[at]!) ?? ABSENT;
      this.#characters[code] = id;
    }
    return id;
  }

  #asBytes(text: string, add: (id: number) => void): boolean {
    const found: number[] = [];
    for (const byte of utf8.encode(text)) {
      const id = this.#bytes[byte];
      if (id === undefined) return false;
      found.push(id);
    }
    found.forEach(add);
    return true;
  }

  #grow(): void {
    const larger = (array: Int32Array) => {
      const copy = new Int32Array(array.length * 2);
      copy.set(array);
      return copy;
    };
    this.#symbols = larger(this.#symbols);
    this.#nexts = larger(this.#nexts);
    this.#befores = larger(this.#befores);
    this.#ranks = larger(this.#ranks);
  }

  /** Merges the first `count` symbols as long as any two of them merge, and adds what remains. */
  #merge(count: number, out: number[]): void {
    if (count === 0) return;
    for (let i = 0; i < count; i++) {
      this.#nexts[i] = i + 1 < count ? i + 1 : -1;
      this.#befores[i] = i - 1;
      this.#ranks[i] = i + 1 < count ? this.#rank(i) : NO_MERGE;
    }
    if (count <= SHORT) this.#mergeByScan();
    else this.#mergeByHeap(count);
    for (let i = 0; i >= 0; i = this.#nexts[i]!) out.push(this.#symbols[i]!);
    if (this.#symbols.length > 1 << 16) this.#shrink();
  }

  #shrink(): void {
    this.#symbols = new Int32Array(256);
    this.#nexts = new Int32Array(256);
    this.#befores = new Int32Array(256);
    this.#ranks = new Int32Array(256);
  }

  /** The rank of the merge of a symbol with the next one. */
  #rank(place: number): number {
    const next = this.#nexts[place]!;
    if (next < 0) return NO_MERGE;
    const { pairs, without } = this.#options;
    const found = pairs.find(this.#symbols[place]!, this.#symbols[next]!);
    if (found < 0 || without?.has(pairs.mergedOf(found)) === true) return NO_MERGE;
    return pairs.rankOf(found);
  }

  #mergeByScan(): void {
    for (;;) {
      let best = -1;
      let least = NO_MERGE;
      for (let i = 0; i >= 0; i = this.#nexts[i]!) {
        if (this.#ranks[i]! < least) {
          least = this.#ranks[i]!;
          best = i;
        }
      }
      if (best < 0) return;
      const before = this.#join(best);
      this.#ranks[best] = this.#rank(best);
      if (before >= 0) this.#ranks[before] = this.#rank(before);
    }
  }

  /** Joins the symbol with the next one; says which one stands before it, or -1. */
  #join(place: number): number {
    const { pairs } = this.#options;
    const next = this.#nexts[place]!;
    this.#symbols[place] = pairs.mergedOf(pairs.find(this.#symbols[place]!, this.#symbols[next]!));
    const after = this.#nexts[next]!;
    this.#nexts[place] = after;
    if (after >= 0) this.#befores[after] = place;
    this.#ranks[next] = NO_MERGE;
    return this.#befores[place]!;
  }

  #mergeByHeap(count: number): void {
    const heap = new Heap(count);
    const offer = (place: number) => {
      const rank = this.#rank(place);
      this.#ranks[place] = rank;
      if (rank !== NO_MERGE) heap.push(rank * PLACES + place);
    };
    for (let i = 0; i < count; i++) if (this.#ranks[i] !== NO_MERGE) heap.push(this.#ranks[i]! * PLACES + i);
    while (heap.size > 0) {
      const entry = heap.pop();
      const place = entry % PLACES;
      // what was merged meanwhile has another rank, or none
      if (this.#ranks[place] !== (entry - place) / PLACES) continue;
      const before = this.#join(place);
      offer(place);
      if (before >= 0) offer(before);
    }
  }
}

const NO_MERGE = 0x7fffffff;
const utf8 = new TextEncoder();

/** Numbers, the least of which comes first. */
class Heap {
  #items: Float64Array;
  size = 0;

  constructor(expected: number) {
    this.#items = new Float64Array(expected + 16);
  }

  push(item: number): void {
    if (this.size === this.#items.length) {
      const larger = new Float64Array(this.size * 2);
      larger.set(this.#items);
      this.#items = larger;
    }
    const items = this.#items;
    let at = this.size++;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (items[parent]! <= item) break;
      items[at] = items[parent]!;
      at = parent;
    }
    items[at] = item;
  }

  pop(): number {
    const items = this.#items;
    const least = items[0]!;
    const item = items[--this.size]!;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= this.size) break;
      if (child + 1 < this.size && items[child + 1]! < items[child]!) child++;
      if (items[child]! >= item) break;
      items[at] = items[child]!;
      at = child;
    }
    items[at] = item;
    return least;
  }
}
