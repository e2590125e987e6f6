import { invalidTokenizer } from './checks.ts';
import { Trie } from './trie.ts';

export interface UnigramOptions {
  /** Texts with their log-probabilities, by id. */
  readonly entries: readonly (readonly [string, number])[];
  /** The last id of each text. */
  readonly ids: ReadonlyMap<string, number>;
  readonly unknownId: number | null;
  readonly byteFallback: boolean;
  /** Ids that no text is written in. */
  readonly without?: ReadonlySet<number>;
}

/** What an unknown character costs beyond the rarest token. */
const UNKNOWN_PENALTY = 10;
const utf8 = new TextEncoder();

/** Of all ways to write a word in tokens the likeliest one, when tokens are drawn independently. */
export class Unigram {
  readonly #options: UnigramOptions;
  readonly #trie = new Trie();
  readonly #unknownScore: number;
  readonly #bytes: readonly (number | undefined)[];

  constructor(options: UnigramOptions) {
    this.#options = options;
    let least = Number.POSITIVE_INFINITY;
    for (const [text, score] of options.entries) {
      const id = options.ids.get(text)!;
      if (options.without?.has(id) !== true) this.#trie.insert(text, id);
      if (score < least) least = score;
    }
    this.#unknownScore = least - UNKNOWN_PENALTY;
    this.#bytes = Array.from({ length: 256 }, (_, byte) =>
      options.ids.get(`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`),
    );
  }

  without(ids: ReadonlySet<number>): Unigram {
    return new Unigram({ ...this.#options, without: ids });
  }

  /** Adds the tokens of a word. @throws E_TOKENIZER_INVALID for an unknown character when there is no unknown token */
  encode(word: string, out: number[]): void {
    const { entries, unknownId } = this.#options;
    const { length } = word;
    // by the unit where a token ends: the score of the best way there, where its last token starts (-1: no way), and its id
    const scores = new Float64Array(length + 1);
    const starts = new Int32Array(length + 1).fill(-1);
    const last = new Int32Array(length + 1);
    let steps = 256 * length + 10_000_000;
    const offer = (start: number, end: number, score: number, id: number) => {
      if (starts[end] !== -1 && !(score > scores[end]!)) return;
      scores[end] = score;
      starts[end] = start;
      last[end] = id;
    };
    for (let at = 0; at < length; ) {
      const single = at + (word.codePointAt(at)! > 0xffff ? 2 : 1);
      const soFar = scores[at]!;
      let hasSingle = false;
      let node = 0;
      for (let i = at; i < length; i++) {
        node = this.#trie.child(node, word.charCodeAt(i));
        if (node === 0) break;
        steps--;
        const id = this.#trie.valueOf(node);
        if (id < 0) continue;
        offer(at, i + 1, entries[id]![1] + soFar, id);
        if (i + 1 === single) hasSingle = true;
      }
      if (steps < 0) throw invalidTokenizer('The vocabulary’s tokens begin alike, and a text takes too many steps.');
      if (!hasSingle) {
        const isBest = starts[single] === -1 || this.#unknownScore + soFar > scores[single]!;
        if (isBest && unknownId === null) throw missingUnknown();
        if (isBest) offer(at, single, this.#unknownScore + soFar, unknownId!);
      }
      at = single;
    }
    const ends: number[] = []; // of the words' pieces, the last first; unknown ones in a row are one piece
    let fusing = false;
    for (let end = length; end > 0; end = starts[end]!) {
      const isUnknown = last[end] === unknownId;
      if (!(fusing && isUnknown)) ends.push(end);
      fusing = isUnknown;
    }
    let start = 0;
    for (let i = ends.length - 1; i >= 0; i--) {
      this.#piece(word.slice(start, ends[i]!), out);
      start = ends[i]!;
    }
  }

  #piece(text: string, out: number[]): void {
    const { ids, unknownId, byteFallback, without } = this.#options;
    const id = ids.get(text);
    if (id !== undefined && without?.has(id) !== true) {
      out.push(id);
      return;
    }
    if (byteFallback) {
      const found = Array.from(utf8.encode(text), (byte) => this.#bytes[byte]);
      if (!found.includes(undefined)) {
        for (const byte of found) out.push(byte!);
        return;
      }
    }
    if (unknownId === null) throw missingUnknown();
    out.push(unknownId);
  }
}

function missingUnknown() {
  return invalidTokenizer(
    'The text has a character that the vocabulary lacks, and the tokenizer names no unknown token.',
  );
}
