/** What Python prints: `str(value)` and `repr(value)`. */
import type { Budget } from './budget.ts';
import { isPrintable } from './characters.ts';
import { floatRepr } from './floats.ts';
import { integerText } from './numbers.ts';
import { EMPTY, Str, TextBuilder } from './text.ts';
import {
  Dict,
  Float,
  Iter,
  List,
  Namespace,
  Range,
  raise,
  Tuple,
  typeName,
  Undefined,
  type Value,
  View,
} from './values.ts';

/** `str(value)`: a text is itself. */
export function toText(work: Budget, value: Value): Str {
  if (value instanceof Str) return value;
  if (value instanceof Undefined) return EMPTY;
  return repr(work, value);
}

export function repr(work: Budget, value: Value): Str {
  const builder = new TextBuilder(work);
  write(work, builder, value);
  return builder.done();
}

function write(work: Budget, to: TextBuilder, value: Value): void {
  work.step();
  if (value === null) to.push('None');
  else if (typeof value === 'boolean') to.push(value ? 'True' : 'False');
  else if (typeof value === 'number' || typeof value === 'bigint') {
    if (typeof value === 'bigint') work.step(100);
    to.push(integerText(value));
  } else if (value instanceof Float) to.push(floatRepr(value.value));
  else if (value instanceof Str) writeQuoted(to, value);
  else if (value instanceof List) writeAll(work, to, '[', value.items, ']');
  else if (value instanceof Tuple) writeAll(work, to, '(', value.items, value.items.length === 1 ? ',)' : ')');
  else if (value instanceof Dict) writeDict(work, to, value);
  else if (value instanceof View) writeView(work, to, value);
  else if (value instanceof Namespace) {
    to.push('<Namespace ');
    writeDict(work, to, value.attributes);
    to.push('>');
  } else if (value instanceof Range) {
    to.push(`range(${value.start}, ${value.stop}${value.step === 1 ? '' : `, ${value.step}`})`);
  } else if (value instanceof Undefined) to.push('Undefined');
  else {
    const text = value instanceof Iter ? null : value.print(work);
    if (text === null) raise('Unsupported', `a ${typeName(value)} prints as an address in memory`);
    to.push(text);
  }
}

function writeAll(work: Budget, to: TextBuilder, open: string, items: readonly Value[], close: string): void {
  to.push(open);
  items.forEach((item, i) => {
    if (i > 0) to.push(', ');
    write(work, to, item);
  });
  to.push(close);
}

function writeDict(work: Budget, to: TextBuilder, dict: Dict): void {
  to.push('{');
  let first = true;
  for (const [key, value] of dict.entries.values()) {
    if (!first) to.push(', ');
    first = false;
    write(work, to, key);
    to.push(': ');
    write(work, to, value);
  }
  to.push('}');
}

function writeView(work: Budget, to: TextBuilder, view: View): void {
  const entries = [...view.dict.entries.values()];
  const items = entries.map(([key, value]) =>
    view.kind === 'keys' ? key : view.kind === 'values' ? value : new Tuple([key, value]),
  );
  writeAll(work, to, `dict_${view.kind}([`, items, '])');
}

const ESCAPES: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t', '\\': '\\\\' };

/** A text in quotes. What the caller wrote stays the caller's. */
function writeQuoted(to: TextBuilder, value: Str): void {
  const { text } = value;
  if (value.markup) to.push('Markup(');
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  to.push(quote);
  let start = 0;
  // most texts have nothing to escape
  if (!isPrintable(text) || text.includes('\\') || text.includes(quote)) {
    let place = 0;
    for (const character of text) {
      const end = place + character.length;
      const escaped = character === quote ? `\\${quote}` : (ESCAPES[character] ?? escapeOf(character));
      if (escaped !== null) {
        to.push(value.cut(start, place));
        const origin = value.cut(place, end);
        to.push(origin.fromCaller ? Str.caller(escaped) : escaped);
        start = end;
      }
      place = end;
    }
  }
  to.push(value.cut(start));
  to.push(quote);
  if (value.markup) to.push(')');
}

function escapeOf(character: string): string | null {
  if (isPrintable(character)) return null;
  const code = character.codePointAt(0)!;
  const hex = (digits: number) => code.toString(16).padStart(digits, '0');
  if (code < 0x100) return `\\x${hex(2)}`;
  return code < 0x10000 ? `\\u${hex(4)}` : `\\U${hex(8)}`;
}
