/** Methods of `str`. Each keeps what of the text came from the caller. */
import { braceFormat, type Reach } from './brace-format.ts';
import type { Budget } from './budget.ts';
import * as characters from './characters.ts';
import { indexOf } from './numbers.ts';
import { iterate, truth } from './operators.ts';
import { firstPlace, lastPlace } from './search.ts';
import { type Bound, signature } from './signature.ts';
import { EMPTY, Str, TextBuilder } from './text.ts';
import { type Arguments, Dict, List, raise, Tuple, typeName, type Value } from './values.ts';

type Method = (work: Budget, self: Str, args: Arguments, reach: Reach) => Value;

function method(
  name: string,
  parameters: string,
  run: (work: Budget, self: Str, args: Bound) => Value,
): [string, Method] {
  const bind = signature(name, parameters);
  return [name, (work, self, args) => run(work, self, bind(args))];
}

/** @throws TypeError unless the value is a text */
export function textArgument(value: Value): Str {
  return value instanceof Str ? value : raise('TypeError', `a str is needed, not ${typeName(value)}`);
}

const mapped = (name: string, map: (text: string) => string) =>
  method(name, '', (work, self) => {
    work.text(self.text.length);
    work.step(self.text.length / 2);
    return self.changed(map(self.text));
  });

const predicate = (name: string, holds: (text: string) => boolean) =>
  method(name, '', (work, self) => {
    work.text(self.text.length);
    return holds(self.text);
  });

/** `str.strip` and its halves: whitespace, or any of the given characters. */
export function strip(work: Budget, self: Str, chars: Value, left: boolean, right: boolean): Str {
  const { text } = self;
  let start = 0;
  let end = text.length;
  work.step();
  if (chars === null) {
    if (left) start = characters.skipSpace(text, 0);
    if (right) end = characters.skipSpaceBack(text, text.length);
  } else {
    const wanted = new Set<string>();
    work.elements(textArgument(chars).text.length);
    for (const character of textArgument(chars).text) wanted.add(character);
    const offsets = self.offsets(work);
    const count = self.size(work);
    const place = (point: number) => offsets?.[point] ?? point;
    let from = 0;
    let to = count;
    if (left) while (from < count && wanted.has(text.slice(place(from), place(from + 1)))) from++;
    if (right) while (to > from && wanted.has(text.slice(place(to - 1), place(to)))) to--;
    work.elements((from + count - to) / 4);
    [start, end] = [place(from), place(to)];
  }
  work.text(start + text.length - end);
  work.step(self.spans.length / 8);
  return self.cut(start, Math.max(start, end));
}

/** Start and end of a search, as UTF-16 places, or null where they cross. */
function searched(work: Budget, self: Str, start: Value, end: Value): { from: number; to: number } | null {
  const count = self.size(work);
  const clamp = (value: Value, otherwise: number) => {
    if (value === null) return otherwise;
    const place = indexOf(value);
    return place < 0 ? Math.max(0, place + count) : place;
  };
  const from = clamp(start, 0);
  const to = Math.min(clamp(end, count), count);
  return from > to || from > count ? null : { from: self.unit(work, from), to: self.unit(work, to) };
}

function find(work: Budget, self: Str, args: Bound, last: boolean): number {
  const wanted = textArgument(args[0]!).text;
  const range = searched(work, self, args[1]!, args[2]!);
  if (range === null) return -1;
  work.text(self.text.length);
  const { from, to } = range;
  const place = last ? lastPlace(self.text, wanted, to - wanted.length) : firstPlace(self.text, wanted, from);
  if (place < from || place + wanted.length > to || to - wanted.length < from) return -1;
  return self.point(work, place);
}

function found(place: number): number {
  return place < 0 ? raise('ValueError', 'substring not found') : place;
}

function affix(work: Budget, self: Str, args: Bound, end: boolean): boolean {
  const wanted = args[0]! instanceof Tuple ? args[0].items : [args[0]!];
  const range = searched(work, self, args[1]!, args[2]!);
  return wanted.some((value) => {
    const { text } = textArgument(value);
    if (range === null || text.length > range.to - range.from) return false;
    work.text(text.length);
    return end ? self.text.slice(range.to - text.length, range.to) === text : self.text.startsWith(text, range.from);
  });
}

/** Between all places where a separator stands; at most so many of them, from the left or the right. */
function splitBy(work: Budget, self: Str, separator: string, most: number, fromRight: boolean): Str[] {
  if (separator === '') raise('ValueError', 'empty separator');
  work.text(self.text.length);
  const cuts: number[] = [];
  if (fromRight) {
    let place = self.text.length;
    while (cuts.length < most && place >= separator.length) {
      place = lastPlace(self.text, separator, place - separator.length);
      if (place < 0) break;
      cuts.push(place);
    }
    cuts.reverse();
  } else {
    for (let place = 0; cuts.length < most; place += separator.length) {
      place = firstPlace(self.text, separator, place);
      if (place < 0) break;
      cuts.push(place);
      work.step();
    }
  }
  work.elements(cuts.length * 2);
  const starts = [0];
  for (const cut of cuts) starts.push(cut + separator.length);
  return starts.map((start, i) => self.cut(start, cuts[i] ?? self.text.length));
}

/** Between runs of whitespace, none at the ends. */
function splitSpace(work: Budget, self: Str, most: number, fromRight: boolean): Str[] {
  const { text } = self;
  work.step(1 + text.length / 4);
  const parts: Str[] = [];
  if (fromRight) {
    let end = characters.skipSpaceBack(text, text.length);
    while (end > 0 && parts.length < most) {
      let start = end;
      while (start > 0 && !characters.isSpace(text.charCodeAt(start - 1))) start--;
      parts.push(self.cut(start, end));
      work.step();
      end = characters.skipSpaceBack(text, start);
    }
    if (end > 0) parts.push(self.cut(0, end));
    return parts.reverse();
  }
  let start = characters.skipSpace(text, 0);
  while (start < text.length && parts.length < most) {
    let end = start;
    while (end < text.length && !characters.isSpace(text.charCodeAt(end))) end++;
    parts.push(self.cut(start, end));
    work.step();
    start = characters.skipSpace(text, end);
  }
  if (start < text.length) parts.push(self.cut(start));
  return parts;
}

function split(work: Budget, self: Str, [separator, maxsplit]: Bound, fromRight: boolean): List {
  const limit = indexOf(maxsplit!);
  const most = limit < 0 ? Number.POSITIVE_INFINITY : limit;
  if (separator === null) return new List(splitSpace(work, self, most, fromRight));
  return new List(splitBy(work, self, textArgument(separator!).text, most, fromRight));
}

function partition(work: Budget, self: Str, separator: Value, last: boolean): Tuple {
  const wanted = textArgument(separator);
  if (wanted.text === '') raise('ValueError', 'empty separator');
  work.text(self.text.length);
  work.step(self.spans.length / 8);
  const place = last ? lastPlace(self.text, wanted.text) : firstPlace(self.text, wanted.text);
  if (place < 0) return new Tuple(last ? [EMPTY, EMPTY, self] : [self, EMPTY, EMPTY]);
  const end = place + wanted.text.length;
  return new Tuple([self.cut(0, place), wanted, self.cut(end)]);
}

/** `str.replace` */
export function replace(work: Budget, self: Str, old: Str, by: Str, count: Value): Str {
  const limit = indexOf(count);
  const most = limit < 0 ? Number.POSITIVE_INFINITY : limit;
  work.text(self.text.length);
  const to = new TextBuilder(work);
  let copied = 0;
  let done = 0;
  if (old.text === '') {
    const points = self.size(work);
    for (; done < most && done <= points; done++) {
      const unit = self.unit(work, done);
      to.push(self.cut(copied, unit)).push(by);
      copied = unit;
    }
  } else {
    for (; done < most; done++) {
      const place = firstPlace(self.text, old.text, copied);
      if (place < 0) break;
      to.push(self.cut(copied, place)).push(by);
      copied = place + old.text.length;
    }
  }
  return done === 0 ? self : to.push(self.cut(copied)).done();
}

/** `separator.join(values)` @throws TypeError for a value that is no text */
export function join(work: Budget, separator: Str, values: Iterator<Value>): Str {
  const to = new TextBuilder(work);
  let first = true;
  for (let next = values.next(); !next.done; next = values.next()) {
    if (!first) to.push(separator);
    first = false;
    to.push(textArgument(next.value));
  }
  return to.done();
}

/** `str.center`, `ljust`, `rjust`: how many of the missing characters stand before the text. */
export function justify(
  work: Budget,
  self: Str,
  width: Value,
  fill: Value,
  before: (missing: number, width: number) => number,
): Str {
  const wanted = indexOf(width);
  const character = textArgument(fill);
  if (character.size(work) !== 1) raise('TypeError', 'The fill character must be exactly one character long');
  const missing = wanted - self.size(work);
  if (missing <= 0) return self;
  work.text(missing);
  const left = before(missing, wanted);
  const pad = (count: number) => {
    const text = character.text.repeat(count);
    return character.fromCaller ? Str.caller(text) : text;
  };
  return new TextBuilder(work)
    .push(pad(left))
    .push(self)
    .push(pad(missing - left))
    .done();
}

/** Python puts the odd one before the text where width and missing are both odd. */
export const centred = (missing: number, width: number) => Math.floor(missing / 2) + (missing & width & 1);

function zfill(work: Budget, self: Str, width: Value): Str {
  const missing = indexOf(width) - self.size(work);
  if (missing <= 0) return self;
  work.text(missing);
  const signed = /^[-+]/.test(self.text) ? 1 : 0;
  return new TextBuilder(work).push(self.cut(0, signed)).push('0'.repeat(missing)).push(self.cut(signed)).done();
}

/** `str.splitlines` */
export function splitLines(work: Budget, self: Str, keepEnds = false): Str[] {
  work.step(1 + self.text.length / 4);
  const lines: Str[] = [];
  for (const [start, end, next] of characters.linesOf(self.text)) {
    work.step();
    lines.push(self.cut(start, keepEnds ? next : end));
  }
  return lines;
}

function expandTabs(work: Budget, self: Str, size: number): Str {
  const to = new TextBuilder(work);
  let column = 0;
  let copied = 0;
  work.step(1 + self.text.length / 4);
  const count = self.size(work);
  for (let i = 0; i < count; i++) {
    const unit = self.unit(work, i);
    const character = self.text[unit]!;
    if (character === '\t') {
      const blanks = size > 0 ? size - (column % size) : 0;
      work.text(blanks);
      to.push(self.cut(copied, unit)).push(' '.repeat(blanks));
      column += blanks;
      copied = unit + 1;
    } else column = character === '\n' || character === '\r' ? 0 : column + 1;
  }
  return to.push(self.cut(copied)).done();
}

function countOf(work: Budget, self: Str, args: Bound): number {
  const wanted = textArgument(args[0]!).text;
  const range = searched(work, self, args[1]!, args[2]!);
  if (range === null) return 0;
  work.text(self.text.length);
  const part = self.text.slice(range.from, range.to);
  if (wanted === '') return new Str(part).size(work) + 1;
  let count = 0;
  for (let place = firstPlace(part, wanted); place >= 0; place = firstPlace(part, wanted, place + wanted.length)) {
    work.step();
    count++;
  }
  return count;
}

const RANGE = 'sub, start=None, end=None, /';

const METHODS: ReadonlyMap<string, Method> = new Map([
  mapped('upper', (text) => text.toUpperCase()),
  mapped('lower', (text) => text.toLowerCase()),
  mapped('capitalize', characters.capitalize),
  mapped('title', characters.title),
  mapped('swapcase', characters.swapCase),
  predicate('isalpha', characters.isAlpha),
  predicate('isdigit', characters.isDigit),
  predicate('isdecimal', characters.isDecimal),
  predicate('isnumeric', characters.isNumeric),
  predicate('isalnum', characters.isAlphanumeric),
  predicate('isspace', characters.isAllSpace),
  predicate('isupper', characters.isUpper),
  predicate('islower', characters.isLower),
  predicate('isascii', characters.isAscii),
  predicate('isprintable', characters.isPrintable),
  predicate('isidentifier', characters.isIdentifier),
  method('strip', 'chars=None, /', (work, self, [chars]) => strip(work, self, chars!, true, true)),
  method('lstrip', 'chars=None, /', (work, self, [chars]) => strip(work, self, chars!, true, false)),
  method('rstrip', 'chars=None, /', (work, self, [chars]) => strip(work, self, chars!, false, true)),
  method('split', 'sep=None, maxsplit=-1', (work, self, args) => split(work, self, args, false)),
  method('rsplit', 'sep=None, maxsplit=-1', (work, self, args) => split(work, self, args, true)),
  method('splitlines', 'keepends=False', (work, self, [keep]) => new List(splitLines(work, self, truth(keep!)))),
  method('partition', 'sep, /', (work, self, [separator]) => partition(work, self, separator!, false)),
  method('rpartition', 'sep, /', (work, self, [separator]) => partition(work, self, separator!, true)),
  method('replace', 'old, new, count=-1, /', (work, self, [old, by, count]) =>
    replace(work, self, textArgument(old!), textArgument(by!), count!),
  ),
  method('join', 'iterable, /', (work, self, [values]) => join(work, self, iterate(work, values!))),
  method('find', RANGE, (work, self, args) => find(work, self, args, false)),
  method('rfind', RANGE, (work, self, args) => find(work, self, args, true)),
  method('index', RANGE, (work, self, args) => found(find(work, self, args, false))),
  method('rindex', RANGE, (work, self, args) => found(find(work, self, args, true))),
  method('count', RANGE, countOf),
  method('startswith', 'prefix, start=None, end=None, /', (work, self, args) => affix(work, self, args, false)),
  method('endswith', 'suffix, start=None, end=None, /', (work, self, args) => affix(work, self, args, true)),
  method('removeprefix', 'prefix, /', (_, self, [prefix]) =>
    self.text.startsWith(textArgument(prefix!).text) ? self.cut(textArgument(prefix!).text.length) : self,
  ),
  method('removesuffix', 'suffix, /', (_, self, [suffix]) => {
    const { text } = textArgument(suffix!);
    return text !== '' && self.text.endsWith(text) ? self.cut(0, self.text.length - text.length) : self;
  }),
  method('center', "width, fillchar=' ', /", (work, self, [width, fill]) =>
    justify(work, self, width!, fill!, centred),
  ),
  method('ljust', "width, fillchar=' ', /", (work, self, [width, fill]) => justify(work, self, width!, fill!, () => 0)),
  method('rjust', "width, fillchar=' ', /", (work, self, [width, fill]) =>
    justify(work, self, width!, fill!, (n) => n),
  ),
  method('zfill', 'width, /', (work, self, [width]) => zfill(work, self, width!)),
  method('expandtabs', 'tabsize=8', (work, self, [size]) => expandTabs(work, self, indexOf(size!))),
  ['format', braceFormat],
  [
    'format_map',
    (work, self, args, reach) => {
      const mapping = signature('format_map', 'mapping, /')(args)[0]!;
      if (!(mapping instanceof Dict)) raise('Unsupported', 'format_map of anything but a dict is not computed');
      const named = new Map([...mapping.entries.values()].map(([key, value]) => [textArgument(key).text, value]));
      return braceFormat(work, self, { positional: [], named }, reach);
    },
  ],
]);

/** Those that Python has and we refuse. */
const REFUSED: ReadonlySet<string> = new Set(['casefold', 'encode', 'istitle', 'maketrans', 'translate']);
/** Those that do with safe HTML what they do with any text. */
const ON_MARKUP =
  /^(is|strip$|lstrip$|rstrip$|upper$|lower$|capitalize$|title$|startswith$|endswith$|find$|index$|count$)/;

/** A method of `str` by its name. @throws Unsupported for those that are not computed */
export function strMethod(self: Str, name: string): Method | undefined {
  const known = METHODS.get(name);
  if (known === undefined) {
    if (REFUSED.has(name)) raise('Unsupported', `str.${name} is not computed`);
    return undefined;
  }
  if (self.markup && !ON_MARKUP.test(name))
    raise('Unsupported', `str.${name} of a text marked as safe is not computed`);
  return known;
}
