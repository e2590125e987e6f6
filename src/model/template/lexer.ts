/** Jinja2's lexer with the settings of chat templates: `trim_blocks`, `lstrip_blocks`, no line statements. */
import { isAllSpace, isIdentifier, SPACE_CLASS, skipSpace, skipSpaceBack } from './characters.ts';
import { TemplateSyntaxError } from './nodes.ts';
import { MOST_DIGITS } from './numbers.ts';

export type TokenType =
  | 'data'
  | 'block_begin'
  | 'block_end'
  | 'variable_begin'
  | 'variable_end'
  | 'name'
  | 'string'
  | 'integer'
  | 'float'
  | 'operator'
  | 'eof';

export interface Token {
  readonly type: TokenType;
  /** Of a name, a string (unescaped), an operator, or the text between tags. */
  readonly text: string;
  readonly number?: number | bigint;
  readonly line: number;
}

/** Longest first. */
const OPERATORS = '// ** == != >= <= + - / * % ~ [ ] ( ) { } > < = . : | , ;'.split(' ');
const CLOSING: Readonly<Record<string, string>> = { '(': ')', '[': ']', '{': '}' };

/** Newlines become line feeds and one at the end of the template is dropped, as Jinja2 does before anything else. */
export function normalised(source: string): string {
  const lines = source.replace(/\r\n|\r/g, '\n');
  return lines.endsWith('\n') ? lines.slice(0, -1) : lines;
}

/** @throws TemplateSyntaxError */
export function tokenize(template: string): Token[] {
  return new Lexer(normalised(template)).run();
}

const TAG = /\{[{%#]/g;
const BLANKS = `[${SPACE_CLASS}]*`;
const RAW_BEGIN = new RegExp(`\\{%[-+]?${BLANKS}raw${BLANKS}(-?)%\\}`, 'y');
const RAW_END = new RegExp(`\\{%([-+]?)${BLANKS}endraw${BLANKS}([-+]?)%\\}`, 'g');
const NAME = /[\p{L}\p{N}\p{M}\p{Pc}·\u0387]+/uy;
const FLOAT = /\d+(?:_\d+)*(?:\.\d+(?:_\d+)*(?:[eE][-+]?\d+(?:_\d+)*)?|[eE][-+]?\d+(?:_\d+)*)/y;
const INTEGER = /0[bB](?:_?[01])+|0[oO](?:_?[0-7])+|0[xX](?:_?[\da-fA-F])+|[1-9](?:_?\d)*|0(?:_?0)*/y;

class Lexer {
  readonly #source: string;
  readonly #tokens: Token[] = [];
  #place = 0;
  #line = 1;
  #counted = 0;
  /** Whether what was read last ended a line, or nothing was read yet. */
  #lineStarts = true;

  constructor(source: string) {
    this.#source = source;
  }

  run(): Token[] {
    while (this.#place < this.#source.length) this.#text();
    this.#add('eof', '');
    return this.#tokens;
  }

  #fail(message: string): never {
    throw new TemplateSyntaxError(message, this.#lineOf(this.#place));
  }

  #lineOf(place: number): number {
    for (; this.#counted < place; this.#counted++) if (this.#source.charCodeAt(this.#counted) === 10) this.#line++;
    return this.#line;
  }

  #add(type: TokenType, text: string, number?: number | bigint): void {
    const line = this.#lineOf(this.#place);
    this.#tokens.push(number === undefined ? { type, text, line } : { type, text, number, line });
  }

  /** Text up to the next tag, and that tag. */
  #text(): void {
    TAG.lastIndex = this.#place;
    const match = TAG.exec(this.#source);
    if (match === null) {
      this.#add('data', this.#source.slice(this.#place));
      this.#place = this.#source.length;
      return;
    }
    const open = match.index;
    const sign = this.#source[open + 2];
    const strip = sign === '-' || sign === '+' ? sign : '';
    this.#data(this.#place, open, strip, match[0] === '{{');
    RAW_BEGIN.lastIndex = open;
    const raw = RAW_BEGIN.exec(this.#source);
    if (raw !== null) {
      this.#raw(open + raw[0].length, raw[1] === '-');
      return;
    }
    this.#place = open + 2 + strip.length;
    this.#lineStarts = false;
    if (match[0] === '{#') this.#comment();
    else this.#tag(match[0] === '{{');
  }

  /** Text before a tag, without what the tag's sign or `lstrip_blocks` takes away. */
  #data(from: number, to: number, strip: string, variable: boolean): void {
    let end = to;
    if (strip === '-') end = Math.max(from, skipSpaceBack(this.#source, to));
    else if (strip !== '+' && !variable) {
      const newline = this.#source.slice(from, to).lastIndexOf('\n');
      const start = from + newline + 1;
      if ((newline >= 0 || this.#lineStarts) && isAllSpace(this.#source.slice(start, to))) end = start;
    }
    if (end > from) this.#add('data', this.#source.slice(from, end));
  }

  #raw(start: number, strip: boolean): void {
    const from = strip ? skipSpace(this.#source, start) : start;
    this.#lineStarts = from > 0 && this.#source[from - 1] === '\n';
    RAW_END.lastIndex = from;
    const end = RAW_END.exec(this.#source);
    if (end === null) this.#fail('Missing end of raw directive');
    this.#data(from, end.index, end[1]!, false);
    this.#place = end.index + end[0].length;
    this.#closed(end[2]!, true);
  }

  #comment(): void {
    const close = this.#source.indexOf('#}', this.#place);
    if (close < 0) this.#fail('Missing end of comment tag');
    const sign = close > this.#place ? this.#source[close - 1]! : '';
    this.#place = close + 2;
    this.#closed(sign === '-' || sign === '+' ? sign : '', true);
  }

  /** After a tag's end: `-` takes all whitespace away, a block's end without a sign takes one newline. */
  #closed(sign: string, block: boolean): void {
    if (sign === '-') this.#place = skipSpace(this.#source, this.#place);
    else if (sign === '' && block && this.#source[this.#place] === '\n') this.#place++;
    this.#lineStarts = this.#source[this.#place - 1] === '\n';
  }

  #tag(variable: boolean): void {
    this.#add(variable ? 'variable_begin' : 'block_begin', '');
    const open: string[] = [];
    const ends = variable ? ['-}}', '}}'] : ['+%}', '-%}', '%}'];
    for (;;) {
      this.#place = skipSpace(this.#source, this.#place);
      if (this.#place >= this.#source.length) return;
      const end = open.length === 0 ? ends.find((text) => this.#source.startsWith(text, this.#place)) : undefined;
      if (end !== undefined) {
        this.#add(variable ? 'variable_end' : 'block_end', '');
        this.#place += end.length;
        this.#closed(end.length > 2 ? end[0]! : '', !variable);
        return;
      }
      this.#token(open);
    }
  }

  #match(pattern: RegExp): string | null {
    pattern.lastIndex = this.#place;
    return pattern.exec(this.#source)?.[0] ?? null;
  }

  #token(open: string[]): void {
    const first = this.#source[this.#place]!;
    if (/\d/.test(first) && this.#number()) return;
    const name = this.#match(NAME);
    if (name !== null) {
      if (!isIdentifier(name)) this.#fail('Invalid character in identifier');
      this.#add('name', name);
      this.#place += name.length;
      return;
    }
    if ((first === "'" || first === '"') && this.#string(first)) return;
    const operator = OPERATORS.find((text) => this.#source.startsWith(text, this.#place));
    if (operator === undefined) this.#fail(`unexpected char '${first}'`);
    if (operator in CLOSING) open.push(CLOSING[operator]!);
    else if (')]}'.includes(operator)) {
      const expected = open.pop();
      if (expected === undefined) this.#fail(`unexpected '${operator}'`);
      if (expected !== operator) this.#fail(`unexpected '${operator}', expected '${expected}'`);
    }
    this.#add('operator', operator);
    this.#place += operator.length;
  }

  #number(): boolean {
    const decimal = this.#source[this.#place - 1] === '.' ? null : this.#match(FLOAT);
    const text = decimal ?? this.#match(INTEGER);
    if (text === null) return false;
    const plain = text.replaceAll('_', '');
    if (plain.length > MOST_DIGITS) this.#fail('a number has too many digits');
    const number = decimal === null ? BigInt(plain.toLowerCase()) : Number(plain);
    if (decimal !== null && !Number.isFinite(number as number)) this.#fail('a number is too large');
    this.#add(decimal === null ? 'integer' : 'float', plain, number);
    this.#place += text.length;
    return true;
  }

  /** Up to the same quote that no backslash stands before; false where there is none. */
  #string(quote: string): boolean {
    let end = this.#place + 1;
    for (; this.#source[end] !== quote; end++) {
      if (this.#source[end] === '\\') end++;
      if (end >= this.#source.length) return false;
    }
    const text = this.#source.slice(this.#place + 1, end);
    this.#add('string', text.includes('\\') ? this.#unescaped(text) : text);
    this.#place = end + 1;
    return true;
  }

  /** Python's escapes, by way of `backslashreplace` and `unicode-escape` as Jinja2 reads them. */
  #unescaped(text: string): string {
    const ascii = text.replace(/[^\0-\x7f]/gu, (character) => {
      const code = character.codePointAt(0)!;
      const hex = (digits: number) => code.toString(16).padStart(digits, '0');
      return code < 0x100 ? `\\x${hex(2)}` : code < 0x10000 ? `\\u${hex(4)}` : `\\U${hex(8)}`;
    });
    return ascii.replace(/\\([0-7]{1,3}|x[\da-fA-F]{2}|u[\da-fA-F]{4}|U[\da-fA-F]{8}|.|$)/gs, (whole, body: string) => {
      if (/^[0-7]/.test(body)) return String.fromCharCode(Number.parseInt(body, 8));
      if (body.length > 1) {
        const code = Number.parseInt(body.slice(1), 16);
        if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) this.#fail('illegal Unicode character in a string');
        return String.fromCodePoint(code);
      }
      if (['x', 'u', 'U', 'N', ''].includes(body)) this.#fail(`a string has an escape that is not read: \\${body}`);
      return ESCAPES[body] ?? whole;
    });
  }
}

const ESCAPES: Readonly<Record<string, string>> = {
  '\n': '',
  '\\': '\\',
  "'": "'",
  '"': '"',
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
};
