import { invalidTokenizer, quoted } from '../checks.ts';
import {
  ANY,
  bracket,
  type CharSet,
  DIGIT,
  eitherCase,
  HEX,
  intersection,
  NOT_NEWLINE,
  negated,
  property,
  range,
  SPACE,
  union,
  WORD,
} from './sets.ts';
import { type Assertion, fixedLength, type Node, nullable } from './syntax.ts';

interface Flags {
  readonly ignoreCase: boolean;
  /** Whether the dot matches a newline (`m` in this dialect). */
  readonly dotAll: boolean;
}

const MAX_DEPTH = 100;
const MAX_LENGTH = 10_000;
const ESCAPES: Readonly<Record<string, number>> = { t: 9, n: 10, v: 11, f: 12, r: 13, a: 7, e: 27 };
const CLASSES: Readonly<Record<string, CharSet>> = { d: DIGIT, s: SPACE, w: WORD, h: HEX };
const ASSERTIONS: Readonly<Record<string, Assertion>> = {
  A: 'start',
  z: 'end',
  Z: 'end-or-last-newline',
  b: 'word-boundary',
  B: 'no-word-boundary',
};
/** Pairs of letters that Unicode folds into one character: case-insensitive patterns with them match more than letters. */
const LIGATURES = /ss|ff|fi|fl|st/;

/**
 * Parses a regular expression of Oniguruma's dialect, which Hugging Face's tokenizers are written in, as far as its meaning is
 * certain: no back-references, absent operators or grapheme clusters; case-insensitive ASCII only.
 *
 * @throws E_TOKENIZER_INVALID for what is malformed or not supported
 */
export function parseRegex(source: string): Node {
  return new Parser(source).parse();
}

class Parser {
  readonly #source: string;
  readonly #characters: readonly string[];
  #at = 0;
  #depth = 0;

  constructor(source: string) {
    this.#source = source;
    if (source.length > MAX_LENGTH) throw this.#fault(`is longer than ${MAX_LENGTH} characters`);
    this.#characters = Array.from(source);
  }

  parse(): Node {
    const node = this.#choice({ ignoreCase: false, dotAll: false });
    if (this.#at < this.#characters.length) throw this.#fault('has a bracket that nothing opens');
    return node;
  }

  #fault(why: string) {
    return invalidTokenizer(`The regular expression ${quoted(this.#source)} ${why}.`);
  }

  #next(): string | undefined {
    return this.#characters[this.#at];
  }

  #take(text: string): boolean {
    if (!this.#starts(text)) return false;
    this.#at += text.length; // all such texts are ASCII
    return true;
  }

  #starts(text: string): boolean {
    for (let i = 0; i < text.length; i++) if (this.#characters[this.#at + i] !== text[i]) return false;
    return true;
  }

  #choice(flags: Flags): Node {
    if (++this.#depth > MAX_DEPTH) throw this.#fault('is nested too deeply');
    let inner = flags;
    const inline = this.#inlineFlags(flags);
    if (inline !== null) inner = inline;
    const options = [this.#sequence(inner)];
    while (this.#take('|')) options.push(this.#sequence(inner));
    this.#depth--;
    return options.length === 1 ? options[0]! : { kind: 'choice', options };
  }

  /** `(?i)` and the like, where they stand first. */
  #inlineFlags(flags: Flags): Flags | null {
    const found = /^\(\?([im]*)(?:-([im]*))?\)/.exec(this.#characters.slice(this.#at, this.#at + 12).join(''));
    if (found === null) return null;
    this.#at += found[0].length;
    return changed(flags, found[1] ?? '', found[2] ?? '');
  }

  #sequence(flags: Flags): Node {
    const parts: Node[] = [];
    let letters = ''; // consecutive literal letters, for ligatures
    for (let next = this.#next(); next !== undefined && next !== '|' && next !== ')'; next = this.#next()) {
      if (this.#starts('(?#')) {
        this.#comment();
        continue;
      }
      const start = this.#at;
      const atom = this.#atom(flags);
      const repeated = this.#repeats(atom);
      if (flags.ignoreCase) {
        const isLetter = atom.kind === 'set' && this.#at === start + 1 && /[a-z]/i.test(next);
        letters = isLetter ? letters + next.toLowerCase() : '';
        if (LIGATURES.test(letters) || (repeated !== atom && /[sf]/i.test(next))) {
          throw this.#fault('ignores case where Unicode folds several letters into one, which is not supported');
        }
      }
      parts.push(repeated);
    }
    return parts.length === 1 ? parts[0]! : { kind: 'sequence', parts };
  }

  #comment(): void {
    while (this.#next() !== undefined && this.#next() !== ')') this.#at += this.#next() === '\\' ? 2 : 1;
    if (!this.#take(')')) throw this.#fault('has a comment without an end');
  }

  #repeats(atom: Node): Node {
    let node = atom;
    for (let count = 0; ; count++) {
      const before = this.#at;
      const limits = this.#limits();
      if (limits === null) return node;
      if (count > 0) throw this.#fault('repeats what is repeated');
      if (nullable(node)) throw this.#fault('repeats what may be empty');
      const [least, most] = limits;
      const interval = this.#characters[before] === '{';
      const mark = this.#take('?') ? '?' : this.#take('+') ? '+' : '';
      if (interval && (mark === '+' || (mark === '?' && least === most))) {
        throw this.#fault('has an interval with a second mark');
      }
      node = { kind: 'repeat', body: node, least, most, greedy: mark !== '?' };
      if (mark === '+') node = { kind: 'atomic', body: node };
    }
  }

  #limits(): [number, number] | null {
    if (this.#take('*')) return [0, Number.POSITIVE_INFINITY];
    if (this.#take('+')) return [1, Number.POSITIVE_INFINITY];
    if (this.#take('?')) return [0, 1];
    if (this.#next() !== '{') return null;
    const found = /^\{(\d*)(,?)(\d*)\}/.exec(this.#characters.slice(this.#at, this.#at + 16).join(''));
    if (found === null || (found[1] === '' && found[3] === '')) return null; // a brace that means itself
    this.#at += found[0].length;
    const least = Number(found[1]);
    const most = found[2] === '' ? least : found[3] === '' ? Number.POSITIVE_INFINITY : Number(found[3]);
    if (most < least) throw this.#fault('has an interval that ends before it begins');
    if (least > 1000 || (most > 1000 && Number.isFinite(most))) throw this.#fault('repeats more than 1000 times');
    return [least, most];
  }

  #atom(flags: Flags): Node {
    const character = this.#characters[this.#at++]!;
    switch (character) {
      case '(':
        return this.#group(flags);
      case '[':
        return { kind: 'set', set: this.#class(flags) };
      case '.':
        return { kind: 'set', set: flags.dotAll ? ANY : NOT_NEWLINE };
      case '^':
        return { kind: 'assert', what: 'line-start' };
      case '$':
        return { kind: 'assert', what: 'line-end' };
      case '*':
      case '+':
      case '?':
        throw this.#fault('repeats nothing');
      case '\\': {
        const letter = this.#next() ?? '';
        if (Object.hasOwn(ASSERTIONS, letter)) {
          this.#at++;
          return { kind: 'assert', what: ASSERTIONS[letter]! };
        }
        const escaped = this.#escape(flags);
        return { kind: 'set', set: typeof escaped === 'number' ? this.#literal(escaped, flags) : escaped };
      }
      default:
        if (
          character === '{' &&
          /^\{(?:\d+(?:,\d*)?|,\d+)\}/.test(this.#characters.slice(this.#at - 1, this.#at + 15).join(''))
        ) {
          throw this.#fault('repeats nothing');
        }
        return { kind: 'set', set: this.#literal(character.codePointAt(0)!, flags) };
    }
  }

  #literal(code: number, flags: Flags): CharSet {
    const set = range(code, code);
    if (!flags.ignoreCase) return set;
    if (code > 0x7f) throw this.#fault('ignores the case of characters outside ASCII, which is not supported');
    return eitherCase(set);
  }

  #group(flags: Flags): Node {
    let inner = flags;
    let wrap = (body: Node): Node => body;
    if (this.#take('?')) {
      if (this.#take(':')) inner = flags;
      else if (this.#take('>')) wrap = (body) => ({ kind: 'atomic', body });
      else if (this.#take('=')) wrap = (body) => ({ kind: 'look', body, behind: false, negative: false });
      else if (this.#take('!')) wrap = (body) => ({ kind: 'look', body, behind: false, negative: true });
      else if (this.#take('<=')) wrap = (body) => this.#behind(body, false);
      else if (this.#take('<!')) wrap = (body) => this.#behind(body, true);
      else {
        const found = /^(?:<[A-Za-z_]\w*>|([im]*)(?:-([im]*))?:)/.exec(
          this.#characters.slice(this.#at, this.#at + 64).join(''),
        );
        if (found === null) throw this.#fault('has a group of a kind that is not supported');
        this.#at += found[0].length;
        if (!found[0].startsWith('<')) inner = changed(flags, found[1] ?? '', found[2] ?? '');
      }
    }
    const body = this.#choice(inner);
    if (!this.#take(')')) throw this.#fault('has a bracket that nothing closes');
    return wrap(body);
  }

  #behind(body: Node, negative: boolean): Node {
    const options = body.kind === 'choice' ? body.options : [body];
    if (options.some((option) => fixedLength(option) === null)) {
      throw this.#fault('looks behind for texts of several lengths, which is not supported');
    }
    return { kind: 'look', body, behind: true, negative };
  }

  /** After a backslash: a character, or a set of them. */
  #escape(flags: Flags): number | CharSet {
    const letter = this.#characters[this.#at++];
    if (letter === undefined) throw this.#fault('ends with a backslash');
    if (Object.hasOwn(CLASSES, letter)) return CLASSES[letter]!;
    const lower = letter.toLowerCase();
    if (Object.hasOwn(CLASSES, lower)) return negated(CLASSES[lower]!);
    if (lower === 'p') {
      if (flags.ignoreCase) throw this.#fault('ignores the case of a property, which is not supported');
      const found = /^\{(\^?)([A-Za-z_]+)\}/.exec(this.#characters.slice(this.#at, this.#at + 64).join(''));
      if (found === null) throw this.#fault('has a property that cannot be read');
      this.#at += found[0].length;
      const set = property(found[2]!);
      return (letter === 'P') !== (found[1] === '^') ? negated(set) : set;
    }
    if (letter === 'N') return NOT_NEWLINE;
    if (letter === 'O') return ANY;
    if (Object.hasOwn(ESCAPES, letter)) return ESCAPES[letter]!;
    if (letter === 'x' || letter === 'u') {
      const pattern = letter === 'u' ? /^([0-9A-Fa-f]{4})/ : /^(?:\{([0-9A-Fa-f]{1,6})\}|([0-7][0-9A-Fa-f]))/;
      const found = pattern.exec(this.#characters.slice(this.#at, this.#at + 8).join(''));
      const code = Number.parseInt(found?.[1] ?? found?.[2] ?? '', 16);
      if (found === null || !(code <= 0x10ffff)) throw this.#fault(`has a \\${letter} that cannot be read`);
      this.#at += found[0].length;
      return code;
    }
    if (/[A-Za-z0-9]/.test(letter)) throw this.#fault(`uses \\${letter}, which is not supported`);
    return letter.codePointAt(0)!;
  }

  #class(flags: Flags): CharSet {
    if (++this.#depth > MAX_DEPTH) throw this.#fault('is nested too deeply');
    const isNegated = this.#take('^');
    let sets: CharSet[] = [];
    const sides: CharSet[] = []; // of intersections, each a union of what stands between them
    const side = () => {
      if (sets.length === 0) throw this.#fault('intersects with nothing');
      sides.push(union(sets));
      sets = [];
    };
    for (let first = true; ; first = false) {
      const character = this.#characters[this.#at++];
      if (character === undefined) throw this.#fault('has a class without an end');
      if (character === ']' && !first) break;
      if (character === '[') {
        if (this.#take(':')) {
          const found = /^(\^?)([a-z]+):\]/.exec(this.#characters.slice(this.#at, this.#at + 16).join(''));
          if (found === null) throw this.#fault('has a class in brackets that cannot be read');
          if (flags.ignoreCase) throw this.#fault('ignores the case of a property, which is not supported');
          this.#at += found[0].length;
          sets.push(found[1] === '^' ? negated(bracket(found[2]!)) : bracket(found[2]!));
        } else sets.push(this.#class(flags));
        continue;
      }
      if (character === '&' && this.#take('&')) {
        if (flags.ignoreCase) throw this.#fault('intersects classes while it ignores case, which is not supported');
        side();
        continue;
      }
      const from = character === '\\' ? this.#classEscape(flags) : character.codePointAt(0)!;
      if (typeof from !== 'number') {
        sets.push(from);
        if (this.#next() === '-' && this.#characters[this.#at + 1] !== ']') throw this.#fault('has a range of classes');
        continue;
      }
      let to = from;
      if (
        this.#next() === '-' &&
        this.#characters[this.#at + 1] !== ']' &&
        this.#characters[this.#at + 1] !== undefined
      ) {
        this.#at++;
        const end = this.#characters[this.#at++]!;
        if (end === '[') throw this.#fault('has a range of classes');
        const code = end === '\\' ? this.#classEscape(flags) : end.codePointAt(0)!;
        if (typeof code !== 'number') throw this.#fault('has a range of classes');
        to = code;
      }
      if (to < from) throw this.#fault('has a range that ends before it begins');
      if (flags.ignoreCase && to > 0x7f) {
        throw this.#fault('ignores the case of characters outside ASCII, which is not supported');
      }
      sets.push(flags.ignoreCase ? eitherCase(range(from, to)) : range(from, to));
    }
    this.#depth--;
    side();
    const all = sides.length === 1 ? sides[0]! : intersection(sides);
    return isNegated ? negated(all) : all;
  }

  #classEscape(flags: Flags): number | CharSet {
    if (!this.#take('b')) return this.#escape(flags);
    return 8; // a backspace, in a class
  }
}

function changed(flags: Flags, on: string, off: string): Flags {
  const value = (letter: string, before: boolean) => (off.includes(letter) ? false : on.includes(letter) || before);
  return { ignoreCase: value('i', flags.ignoreCase), dotAll: value('m', flags.dotAll) };
}
