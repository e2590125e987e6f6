/** What two neighbouring tokens become, and how early. */
export interface Pairs {
  /** A handle of the merge of two tokens, or below 0 when they do not merge. Valid until the next call. */
  find(left: number, right: number): number;
  /** Lower is earlier. Of equal ranks the leftmost comes first. */
  rankOf(handle: number): number;
  /** The token that the two become. */
  mergedOf(handle: number): number;
}

/** An open hash table from pairs of ids to two numbers. */
export class PairTable implements Pairs {
  #lefts: Int32Array;
  #rights: Int32Array;
  #ranks: Int32Array;
  #merged: Int32Array;
  #mask: number;
  #size = 0;

  /** @param expected how many pairs there will be */
  constructor(expected: number) {
    let slots = 64;
    while (slots < expected * 2) slots *= 2;
    this.#mask = slots - 1;
    this.#lefts = new Int32Array(slots).fill(-1);
    this.#rights = new Int32Array(slots);
    this.#ranks = new Int32Array(slots);
    this.#merged = new Int32Array(slots);
  }

  get size(): number {
    return this.#size;
  }

  find(left: number, right: number): number {
    let slot = this.#slot(left, right);
    while (this.#lefts[slot] !== -1) {
      if (this.#lefts[slot] === left && this.#rights[slot] === right) return slot;
      slot = (slot + 1) & this.#mask;
    }
    return -1;
  }

  /** Puts a pair in, or gives it other numbers. */
  set(left: number, right: number, rank: number, merged: number): number {
    let slot = this.find(left, right);
    if (slot < 0) {
      if (this.#size * 2 > this.#mask) this.#grow();
      this.#size++;
      slot = this.#slot(left, right);
      while (this.#lefts[slot] !== -1) slot = (slot + 1) & this.#mask;
      this.#lefts[slot] = left;
      this.#rights[slot] = right;
    }
    this.#ranks[slot] = rank;
    this.#merged[slot] = merged;
    return slot;
  }

  rankOf(slot: number): number {
    return this.#ranks[slot]!;
  }

  mergedOf(slot: number): number {
    return this.#merged[slot]!;
  }

  clear(): void {
    this.#lefts.fill(-1);
    this.#size = 0;
  }

  #slot(left: number, right: number): number {
    const hash = Math.imul(left ^ Math.imul(right, 0x9e3779b1), 0x85ebca6b);
    return (hash ^ (hash >>> 15)) & this.#mask;
  }

  #grow(): void {
    const { length } = this.#lefts;
    const [lefts, rights, ranks, merged] = [this.#lefts, this.#rights, this.#ranks, this.#merged];
    this.#mask = length * 2 - 1;
    this.#lefts = new Int32Array(length * 2).fill(-1);
    this.#rights = new Int32Array(length * 2);
    this.#ranks = new Int32Array(length * 2);
    this.#merged = new Int32Array(length * 2);
    this.#size = 0;
    for (let i = 0; i < length; i++) if (lefts[i] !== -1) this.set(lefts[i]!, rights[i]!, ranks[i]!, merged[i]!);
  }
}

/** Pairs that have been looked up are remembered, at most so many. */
const MEMORY = 1 << 19;

/**
 * SentencePiece's merges, which its vocabulary does not list: two tokens merge when what they make together is a token; the
 * best score first, then the leftmost. All such pairs of a vocabulary can be more than a thousand times as large as it is, so
 * they are looked up when they are met.
 */
export class ScoredPairs implements Pairs {
  readonly #texts: readonly (string | undefined)[];
  readonly #ids: ReadonlyMap<string, number>;
  readonly #ranks: Int32Array;
  readonly #longest: number;
  readonly #known = new PairTable(1024);

  /**
   * @param texts by id
   * @param ids of the tokens that merges may lead to, by text
   * @param scores by id; the highest merges first
   */
  constructor(texts: readonly (string | undefined)[], ids: ReadonlyMap<string, number>, scores: ArrayLike<number>) {
    this.#texts = texts;
    this.#ids = ids;
    const sorted = Float64Array.from(scores).sort();
    this.#ranks = Int32Array.from({ length: texts.length }, (_, id) => sorted.length - upper(sorted, scores[id]!));
    let longest = 0;
    for (const text of ids.keys()) longest = Math.max(longest, text.length);
    this.#longest = longest;
  }

  find(left: number, right: number): number {
    let slot = this.#known.find(left, right);
    if (slot < 0) {
      if (this.#known.size >= MEMORY) this.#known.clear();
      const merged = this.#lookUp(left, right);
      slot = this.#known.set(left, right, merged < 0 ? 0 : this.#ranks[merged]!, merged);
    }
    return this.#known.mergedOf(slot) < 0 ? -1 : slot;
  }

  #lookUp(left: number, right: number): number {
    const first = this.#texts[left] ?? '';
    const second = this.#texts[right] ?? '';
    if (first.length + second.length > this.#longest) return -1;
    if (!this.#ids.has(first) || !this.#ids.has(second)) return -1;
    return this.#ids.get(first + second) ?? -1;
  }

  rankOf(slot: number): number {
    return this.#known.rankOf(slot);
  }

  mergedOf(slot: number): number {
    return this.#known.mergedOf(slot);
  }
}

/** How many of the sorted numbers are at most `value`. */
function upper(sorted: Float64Array, value: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle]! <= value) low = middle + 1;
    else high = middle;
  }
  return low;
}
