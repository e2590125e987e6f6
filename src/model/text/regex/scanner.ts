import { ASSERTIONS, OP, type Program, SETS_PER_WORD } from './program.ts';
import { WORD } from './sets.ts';

/** Steps for each character before failures are remembered, and then before the scanner gives up. */
const PATIENCE = 64;
const LIMIT = 256;
const MAX_MEMORY = 64 << 20;

/** What is looked for: a `Regex`. */
export interface Expression {
  /** The program that is run first. */
  readonly fused: Program;
  /** The same without fused repeats. */
  readonly plain: Program;
  /** Word `word` of the sets that a character is in. */
  setsOf(code: number, word: number): number;
  /** The alternatives, by number, that a match which begins with this character may follow. */
  startsWith(code: number): readonly number[];
  /** The alternatives that may match at the end of a text. */
  readonly atEnd: readonly number[];
  exhausted(): Error;
}

/**
 * Finds one match after the other, as Oniguruma's iteration does: leftmost, alternatives in their order, greedy repeats longest
 * first; an empty match directly after another match is passed over.
 *
 * It backtracks. An expression that backtracks much is run again in a way that remembers from which choice at which character
 * nothing matched; what follows a choice never depends on what came before it, so the steps are then bounded by choices times
 * characters.
 */
export class Scanner {
  readonly #regex: Expression;
  readonly #text: string;
  #program: Program;
  /** One bit for each character and choice: nothing matches from there. Null while nothing is remembered. */
  #failures: Uint32Array | null = null;
  #steps = 0;
  #patience: number;
  #from = 0;
  #lastEnd = -1;
  #stack = new Int32Array(48);
  #top = 0;
  /** The match that `next` found, in UTF-16 units. */
  start = 0;
  end = 0;

  constructor(regex: Expression, text: string) {
    this.#regex = regex;
    this.#text = text;
    this.#program = regex.fused;
    this.#patience = PATIENCE * text.length + 4096;
  }

  /** Looks for the next match. @throws E_TOKENIZER_INVALID when that takes too many steps */
  next(): boolean {
    const text = this.#text;
    while (this.#from <= text.length) {
      if (!this.#search()) return false;
      if (this.start === this.end && this.#lastEnd === this.end) {
        this.#from += this.#from < text.length && text.codePointAt(this.#from)! > 0xffff ? 2 : 1;
        continue;
      }
      this.#from = this.end;
      this.#lastEnd = this.end;
      return true;
    }
    return false;
  }

  /** The leftmost match from `#from` on. */
  #search(): boolean {
    const text = this.#text;
    const regex = this.#regex;
    for (let at = this.#from; at <= text.length; ) {
      const code = at < text.length ? text.codePointAt(at)! : -1;
      const alternatives = code < 0 ? regex.atEnd : regex.startsWith(code);
      for (let i = 0; i < alternatives.length; i++) {
        const end = this.#run(this.#program.entries[alternatives[i]!]!, at);
        if (end >= 0) {
          this.start = at;
          this.end = end;
          return true;
        }
        if (end === RESTART) i = -1; // the same place again, now remembering
      }
      this.#steps++;
      at += code > 0xffff ? 2 : 1;
    }
    this.#from = text.length + 1;
    return false;
  }

  /** Where what begins with instruction `pc` ends when it begins at `at`; `FAILED`, or `RESTART`. */
  #run(pc: number, at: number): number {
    const text = this.#text;
    const length = text.length;
    const program = this.#program;
    const { code } = program;
    const base = this.#top;
    for (;;) {
      if (++this.#steps > this.#patience) {
        this.#top = base;
        this.#lose();
        return RESTART;
      }
      let failed = false;
      switch (code[pc]) {
        case OP.set: {
          const width = at < length ? this.#member(code[pc + 1]!, at) : 0;
          failed = width === 0;
          at += width;
          pc += 4;
          break;
        }
        case OP.split: {
          const choice = program.splitAt[pc >> 2]!;
          if (this.#failures !== null) {
            if (this.#hasFailed(choice, at)) {
              failed = true;
              break;
            }
            this.#push(-1 - choice, at, -1);
          }
          this.#push(code[pc + 2]!, at, -1);
          pc = code[pc + 1]!;
          break;
        }
        case OP.jump:
          pc = code[pc + 1]!;
          break;
        case OP.loop: {
          const set = code[pc + 1]!;
          const least = code[pc + 2]!;
          const most = code[pc + 3]!;
          let floor = at;
          let count = 0;
          while (count !== most && at < length) {
            const width = this.#member(set, at);
            if (width === 0) break;
            at += width;
            if (++count <= least) floor = at;
          }
          this.#steps += count;
          failed = count < least;
          pc += 4;
          if (!failed && at > floor) this.#push(pc, this.#before(at), floor);
          break;
        }
        case OP.assert:
          failed = !this.#holds(code[pc + 1]!, at);
          pc += 4;
          break;
        case OP.atomic: {
          const end = this.#run(pc + 4, at);
          if (end === RESTART) {
            this.#top = base;
            return RESTART;
          }
          failed = end < 0;
          at = end;
          pc = code[pc + 1]!;
          break;
        }
        case OP.look: {
          const from = this.#back(at, code[pc + 3]!);
          const end = from < 0 ? FAILED : this.#run(pc + 4, from);
          if (end === RESTART) {
            this.#top = base;
            return RESTART;
          }
          failed = end < 0 !== (code[pc + 2] === 1);
          pc = code[pc + 1]!;
          break;
        }
        default: // match
          this.#top = base;
          return at;
      }
      if (!failed) continue;
      for (;;) {
        if (this.#top === base) return FAILED;
        const stack = this.#stack;
        this.#top -= 3;
        pc = stack[this.#top]!;
        at = stack[this.#top + 1]!;
        if (pc < 0) {
          this.#remember(-1 - pc, at);
          continue;
        }
        const floor = stack[this.#top + 2]!;
        if (floor >= 0 && at > floor) this.#push(pc, this.#before(at), floor);
        break;
      }
    }
  }

  /** The width in units of the character at `at` when it is in the set; else 0. */
  #member(set: number, at: number): number {
    const unit = this.#text.charCodeAt(at);
    const word = set < SETS_PER_WORD ? 0 : Math.floor(set / SETS_PER_WORD);
    const bit = set - word * SETS_PER_WORD;
    if (unit < 0xd800 || unit > 0xdbff) return (this.#regex.setsOf(unit, word) >>> bit) & 1;
    return ((this.#regex.setsOf(this.#text.codePointAt(at)!, word) >>> bit) & 1) * 2;
  }

  #before(at: number): number {
    const unit = this.#text.charCodeAt(at - 1);
    return unit >= 0xdc00 && unit <= 0xdfff ? at - 2 : at - 1;
  }

  /** `count` characters before; below 0 when there are not so many. No count: here. */
  #back(at: number, count: number): number {
    for (let i = 0; i < count; i++) {
      if (at === 0) return -1;
      at = this.#before(at);
    }
    return at;
  }

  #push(pc: number, at: number, floor: number): void {
    if (this.#top + 3 > this.#stack.length) {
      const larger = new Int32Array(this.#stack.length * 2);
      larger.set(this.#stack);
      this.#stack = larger;
    }
    const stack = this.#stack;
    stack[this.#top] = pc;
    stack[this.#top + 1] = at;
    stack[this.#top + 2] = floor;
    this.#top += 3;
  }

  #hasFailed(choice: number, at: number): boolean {
    const bit = at * this.#program.splits + choice;
    return ((this.#failures![bit >>> 5]! >>> (bit & 31)) & 1) === 1;
  }

  #remember(choice: number, at: number): void {
    const bit = at * this.#program.splits + choice;
    this.#failures![bit >>> 5]! |= 1 << (bit & 31);
  }

  /** Patience is at its end: from now on failures are remembered, or there is nothing more to do. */
  #lose(): void {
    if (this.#failures !== null) throw this.#regex.exhausted();
    this.#program = this.#regex.plain;
    const words = Math.ceil(((this.#text.length + 1) * this.#program.splits) / 32);
    if (words * 4 > MAX_MEMORY) throw this.#regex.exhausted();
    this.#failures = new Uint32Array(words);
    this.#patience = this.#steps + LIMIT * this.#text.length + 1_000_000;
  }

  #holds(assertion: number, at: number): boolean {
    const text = this.#text;
    const what = ASSERTIONS[assertion]!;
    switch (what) {
      case 'line-start':
        return at === 0 || (text.charCodeAt(at - 1) === 10 && at < text.length);
      case 'line-end':
        return at === text.length || text.charCodeAt(at) === 10;
      case 'start':
        return at === 0;
      case 'end':
        return at === text.length;
      case 'end-or-last-newline':
        return at === text.length || (at === text.length - 1 && text.charCodeAt(at) === 10);
      case 'word-boundary':
      case 'no-word-boundary': {
        const before = at > 0 && WORD.has(text.codePointAt(this.#before(at))!);
        const after = at < text.length && WORD.has(text.codePointAt(at)!);
        return (before !== after) === (what === 'word-boundary');
      }
      default:
        throw what satisfies never;
    }
  }
}

const FAILED = -1;
const RESTART = -2;
