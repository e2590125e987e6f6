/** Jinja2's filters of texts. */
import type { Budget } from './budget.ts';
import { capitalize, SPACE_CLASS } from './characters.ts';
import { type Filter, filter, getter } from './filter.ts';
import { escapeHtml } from './html.ts';
import { indexOf } from './numbers.ts';
import { iterate, length as sizeOf, truth } from './operators.ts';
import { percentFormat } from './percent-format.ts';
import { toText } from './repr.ts';
import { centred, join, justify, replace, splitLines, strip, textArgument } from './str-methods.ts';
import { Str, TextBuilder } from './text.ts';
import { Dict, isNumber, raise, Tuple, type Value, View } from './values.ts';

/** A text stays one that is marked as safe. */
const mapped = (name: string, map: (text: string) => string) =>
  filter(name, 's', (work, [value]) => {
    const text = toText(work, value!);
    work.text(text.text.length);
    work.step(text.text.length / 2);
    return text.changed(map(text.text));
  });

const WORD_START = new RegExp(`([-({\\[<${SPACE_CLASS}]+)`);

/** Jinja2's own idea of a word: what whitespace, a hyphen or an opening bracket stands before. */
function title(text: string): string {
  return text
    .split(WORD_START)
    .map((word) => {
      if (word === '') return '';
      const first = String.fromCodePoint(word.codePointAt(0)!);
      return first.toUpperCase() + word.slice(first.length).toLowerCase();
    })
    .join('');
}

function indent(work: Budget, value: Value, width: Value, first: Value, blank: Value): Str {
  const text = textArgument(value);
  const by = width instanceof Str ? width : new Str(' '.repeat(spaces(work, width)));
  const lines = splitLines(work, text.marked(false).plus(work, new Str('\n')));
  const to = new TextBuilder(work);
  if (truth(first)) to.push(by);
  lines.forEach((line, i) => {
    if (i > 0) {
      to.push('\n');
      if (truth(blank) || line.text !== '') to.push(by);
    }
    to.push(line);
  });
  return to.done().marked(text.markup);
}

function spaces(work: Budget, width: Value): number {
  const count = Math.max(0, indexOf(width));
  work.text(count);
  return count;
}

function truncate(work: Budget, value: Value, length: Value, killWords: Value, end: Value, leeway: Value): Value {
  const suffix = textArgument(end);
  const size = indexOf(length);
  const slack = leeway === null ? 5 : indexOf(leeway);
  if (size < suffix.size(work) || slack < 0) raise('ValueError', 'truncate: the length or the leeway is too small');
  if (sizeOf(work, value) <= size + slack) return value;
  const text = textArgument(value);
  let kept = text.cut(0, text.unit(work, size - suffix.size(work)));
  if (!truth(killWords)) {
    const space = kept.text.lastIndexOf(' ');
    if (space >= 0) kept = kept.cut(0, space);
  }
  return kept.marked(false).plus(work, suffix);
}

const SAFE = /[A-Za-z0-9_.~-]/;

function quote(work: Budget, value: Value, query: boolean): Str {
  const text = toText(work, value);
  work.step(1 + text.text.length);
  let quoted = '';
  for (const byte of new TextEncoder().encode(text.text)) {
    const character = String.fromCharCode(byte);
    if (SAFE.test(character) || (!query && character === '/')) quoted += character;
    else if (query && character === ' ') quoted += '+';
    else quoted += `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return text.fromCaller ? Str.caller(quoted) : new Str(quoted);
}

function urlencode(work: Budget, value: Value): Str {
  const pairs = value instanceof Dict ? new View(value, 'items') : value;
  if (value instanceof Str || !isIterable(work, pairs)) return quote(work, value, false);
  const to = new TextBuilder(work);
  const iterator = iterate(work, pairs);
  for (let next = iterator.next(); !next.done; next = iterator.next()) {
    const pair = next.value;
    if (!(pair instanceof Tuple) || pair.items.length !== 2) raise('ValueError', 'urlencode takes pairs');
    if (to.length > 0) to.push('&');
    to.push(quote(work, pair.items[0]!, true))
      .push('=')
      .push(quote(work, pair.items[1]!, true));
  }
  return to.done();
}

function isIterable(work: Budget, value: Value): boolean {
  if (isNumber(value) || value === null) return false;
  iterate(work, value);
  return true;
}

export const TEXT_FILTERS: readonly (readonly [string, Filter])[] = [
  mapped('upper', (text) => text.toUpperCase()),
  mapped('lower', (text) => text.toLowerCase()),
  mapped('capitalize', capitalize),
  mapped('title', title),
  filter('string', 's', (work, [value]) => toText(work, value!)),
  filter('trim', 'value, chars=None', (work, [value, chars]) => strip(work, toText(work, value!), chars!, true, true)),
  filter('replace', 's, old, new, count=None', (work, [value, old, by, count]) =>
    replace(
      work,
      toText(work, value!).marked(false),
      toText(work, old!).marked(false),
      toText(work, by!),
      count === null ? -1 : count!,
    ),
  ),
  filter('center', 'value, width=80', (work, [value, width]) =>
    justify(work, toText(work, value!), width!, new Str(' '), centred),
  ),
  filter('indent', 's, width=4, first=False, blank=False', (work, [value, width, first, blank]) =>
    indent(work, value!, width!, first!, blank!),
  ),
  filter(
    'truncate',
    "s, length=255, killwords=False, end='...', leeway=None",
    (work, [value, length, kill, end, leeway]) => truncate(work, value!, length!, kill!, end!, leeway!),
  ),
  filter('wordcount', 's', (work, [value]) => {
    const { text } = toText(work, value!);
    work.step(1 + text.length / 2);
    return text.match(/[\p{L}\p{N}_]+/gu)?.length ?? 0;
  }),
  filter('join', "value, d='', attribute=None", (work, [value, separator, attribute]) => {
    const get = getter(work, attribute!);
    const items = iterate(work, value!);
    const texts = (function* () {
      for (let next = items.next(); !next.done; next = items.next()) {
        work.step();
        yield toText(work, get(next.value));
      }
    })();
    return join(work, toText(work, separator!).marked(false), texts);
  }),
  [
    'format',
    (work, { positional: [value, ...args], named }) => {
      if (value === undefined) raise('TypeError', 'format() lacks its text');
      if (args.length > 0 && named.size > 0) {
        raise('TypeError', "can't handle positional and keyword arguments at the same time");
      }
      const values =
        named.size > 0
          ? Dict.of(
              work,
              [...named].map(([key, item]) => [new Str(key), item]),
            )
          : new Tuple(args);
      return percentFormat(work, toText(work, value), values);
    },
  ],
  filter('urlencode', 'value', (work, [value]) => urlencode(work, value!)),
  filter('safe', 'value', (work, [value]) => toText(work, value!).marked(true)),
  ...['escape', 'e'].map((name) => filter(name, 's, /', (work, [value]) => escapeHtml(work, toText(work, value!)))),
  filter('forceescape', 'value', (work, [value]) => escapeHtml(work, toText(work, value!).marked(false))),
];
