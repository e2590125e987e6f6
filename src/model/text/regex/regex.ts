import { invalidTokenizer, quoted } from '../checks.ts';
import { parseRegex } from './parse.ts';
import { type Alphabet, alphabetOf, compile, type Program, SETS_PER_WORD } from './program.ts';
import { type Expression, Scanner } from './scanner.ts';
import type { CharSet } from './sets.ts';
import type { Node } from './syntax.ts';

/** Of a word of sets the 32nd bit: that the character has been looked up. */
const LOOKED_UP = 0x80000000 | 0;

/**
 * A regular expression in the dialect of Hugging Face's tokenizers (Oniguruma), with matches of its own: JavaScript's RegExp has
 * other classes of characters, and no bound on how long it backtracks.
 */
export class Regex implements Expression {
  readonly source: string;
  /** The program that is run first. */
  readonly fused: Program;
  readonly #node: Node;
  readonly #alphabet: Alphabet;
  readonly #numberOf: (set: CharSet) => number;
  #plain: Program | null = null;
  /** By word of sets, by UTF-16 unit. */
  readonly #masks: Int32Array[];
  readonly #astral = new Map<number, readonly number[]>();
  /** By UTF-16 unit: which list of alternatives may begin there, plus 1. */
  readonly #starts = new Uint16Array(65536);
  readonly #lists: (readonly number[])[] = [];
  readonly #listNumbers = new Map<string, number>();

  /** @throws E_TOKENIZER_INVALID for what is malformed or not supported */
  constructor(source: string) {
    this.source = source;
    this.#node = parseRegex(source);
    const { numberOf, ...alphabet } = alphabetOf(this.#node);
    this.#numberOf = numberOf;
    this.#alphabet = alphabet;
    this.fused = compile(this.#node, numberOf, true);
    const words = Math.max(1, Math.ceil(alphabet.sets.length / SETS_PER_WORD));
    this.#masks = Array.from({ length: words }, () => new Int32Array(65536));
  }

  /** The same without fused repeats. */
  get plain(): Program {
    this.#plain ??= compile(this.#node, this.#numberOf, false);
    return this.#plain;
  }

  /** Starts to look for the matches in a text, which is well-formed UTF-16. */
  scan(text: string): Scanner {
    return new Scanner(this, text);
  }

  /** Word `word` of the sets that a character is in. */
  setsOf(code: number, word: number): number {
    if (code > 0xffff) {
      let masks = this.#astral.get(code);
      if (masks === undefined) {
        masks = this.#masks.map((_, i) => this.#lookUp(code, i));
        if (this.#astral.size < 1 << 16) this.#astral.set(code, masks);
      }
      return masks[word]!;
    }
    const table = this.#masks[word]!;
    const mask = table[code]!;
    if (mask < 0) return mask;
    const found = this.#lookUp(code, word);
    table[code] = found;
    return found;
  }

  #lookUp(code: number, word: number): number {
    let mask = LOOKED_UP;
    const { sets } = this.#alphabet;
    for (let bit = 0; bit < SETS_PER_WORD; bit++) {
      const set = sets[word * SETS_PER_WORD + bit];
      if (set?.has(code)) mask |= 1 << bit;
    }
    return mask;
  }

  /** The alternatives, by number, that a match which begins with this character may follow. */
  startsWith(code: number): readonly number[] {
    if (code > 0xffff) return this.#alternativesFor(code);
    const number = this.#starts[code]!;
    if (number > 0) return this.#lists[number - 1]!;
    const list = this.#alternativesFor(code);
    const key = list.join(' ');
    let known = this.#listNumbers.get(key);
    if (known === undefined) {
      known = this.#lists.push(list);
      this.#listNumbers.set(key, known);
    }
    if (known < 65536) this.#starts[code] = known;
    return list;
  }

  #alternativesFor(code: number): readonly number[] {
    const list: number[] = [];
    this.#alphabet.firsts.forEach((sets, i) => {
      const may = (set: number) => (this.setsOf(code, Math.floor(set / SETS_PER_WORD)) >>> (set % SETS_PER_WORD)) & 1;
      if (sets === null || sets.some(may)) list.push(i);
    });
    return list;
  }

  /** The alternatives that may match at the end of a text. */
  get atEnd(): readonly number[] {
    return this.#alphabet.firsts.flatMap((sets, i) => (sets === null ? [i] : []));
  }

  exhausted() {
    return invalidTokenizer(
      `The regular expression ${quoted(this.source)} takes too many steps on this text.`,
      'Use a tokenizer.json whose expressions do not backtrack so much.',
    );
  }
}
