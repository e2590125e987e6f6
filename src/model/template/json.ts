/** `json.dumps`, as the `tojson` filter of chat templates calls it. */
import type { Budget } from './budget.ts';
import { compareText } from './characters.ts';
import { floatRepr } from './floats.ts';
import { integerText } from './numbers.ts';
import { compare } from './operators.ts';
import { Str, TextBuilder } from './text.ts';
import { Dict, Float, List, raise, Tuple, typeName, type Value } from './values.ts';

export interface JsonStyle {
  readonly ensureAscii: boolean;
  /** What a level is indented by; null for one line. */
  readonly indent: Str | null;
  readonly itemSeparator: Str;
  readonly keySeparator: Str;
  readonly sortKeys: boolean;
}

/** @throws TypeError for what JSON does not have; ValueError for a value that holds itself */
export function toJson(work: Budget, value: Value, style: JsonStyle): Str {
  const to = new TextBuilder(work);
  write(work, to, value, style, 0, new Set());
  return to.done();
}

function write(work: Budget, to: TextBuilder, value: Value, style: JsonStyle, level: number, within: Set<Value>): void {
  work.step();
  if (value instanceof Str) writeString(work, to, value, style.ensureAscii);
  else if (
    value === null ||
    typeof value === 'boolean' ||
    typeof value === 'number' ||
    typeof value === 'bigint' ||
    value instanceof Float
  ) {
    to.push(scalar(value));
  } else if (value instanceof List || value instanceof Tuple) {
    enclosed(value, within, () => {
      writeAll(to, style, level, ['[', ']'], value.items, (item) => write(work, to, item, style, level + 1, within));
    });
  } else if (value instanceof Dict) {
    let entries = [...value.entries.values()];
    if (style.sortKeys) entries = sorted(work, entries);
    enclosed(value, within, () => {
      writeAll(to, style, level, ['{', '}'], entries, ([key, item]) => {
        if (key instanceof Str) writeString(work, to, key, style.ensureAscii);
        else if (
          key === null ||
          typeof key === 'boolean' ||
          typeof key === 'number' ||
          typeof key === 'bigint' ||
          key instanceof Float
        ) {
          to.push(`"${scalar(key)}"`);
        } else raise('TypeError', `keys must be str, int, float, bool or None, not ${typeName(key)}`);
        to.push(style.keySeparator);
        write(work, to, item, style, level + 1, within);
      });
    });
  } else raise('TypeError', `Object of type ${typeName(value)} is not JSON serializable`);
}

function sorted<V>(work: Budget, entries: [Value, V][]): [Value, V][] {
  work.elements(entries.length);
  return entries.sort(([a], [b]) =>
    a instanceof Str && b instanceof Str ? compareText(a.text, b.text) : compare(work, a, b),
  );
}

function enclosed(value: Value, within: Set<Value>, body: () => void): void {
  if (within.has(value)) raise('ValueError', 'Circular reference detected');
  within.add(value);
  body();
  within.delete(value);
}

function writeAll<V>(
  to: TextBuilder,
  style: JsonStyle,
  level: number,
  [open, close]: readonly [string, string],
  items: readonly V[],
  writeOne: (item: V) => void,
): void {
  to.push(open);
  const newline = (depth: number) => {
    if (style.indent === null) return;
    to.push('\n');
    for (let i = 0; i < depth; i++) to.push(style.indent);
  };
  items.forEach((item, i) => {
    if (i > 0) to.push(style.itemSeparator);
    newline(level + 1);
    writeOne(item);
  });
  if (items.length > 0) newline(level);
  to.push(close);
}

function scalar(value: null | boolean | number | bigint | Float): string {
  if (value === null) return 'null';
  if (typeof value === 'boolean') return String(value);
  if (!(value instanceof Float)) return integerText(value);
  if (Number.isNaN(value.value)) return 'NaN';
  if (!Number.isFinite(value.value)) return value.value > 0 ? 'Infinity' : '-Infinity';
  return floatRepr(value.value);
}

const SHORT: Readonly<Record<string, string>> = {
  '"': '\\"',
  '\\': '\\\\',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\f': '\\f',
  '\b': '\\b',
};

function writeString(work: Budget, to: TextBuilder, value: Str, ensureAscii: boolean): void {
  work.text(value.text.length);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: JSON escapes them
  const special = ensureAscii ? /["\\]|[^ -~]/g : /["\\\0-\x1f]/g;
  const escaped = (unit: string) => SHORT[unit] ?? `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
  const text = `"${value.text.replace(special, escaped)}"`;
  // a text that is the caller's in part counts as the caller's: its quotes and escapes are no part of any token's text
  to.push(value.fromCaller ? Str.caller(text) : text);
}
