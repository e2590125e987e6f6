/** `text % values`: printf's forms, as Python has them. */
import type { Budget } from './budget.ts';
import { isAscii } from './characters.ts';
import { percentNumber } from './format-spec.ts';
import { indexOf } from './numbers.ts';
import { repr, toText } from './repr.ts';
import { Str, TextBuilder } from './text.ts';
import { Dict, isInteger, isNumber, List, Range, raise, Tuple, typeName, Undefined, type Value } from './values.ts';

const FORM = /%(?:\(([^()]*)\))?([-+ #0]*)(\*|\d*)(?:\.(\*|\d*))?[hlL]?(.)?/gsu;

/** @throws TypeError, ValueError, LookupError as Python */
export function percentFormat(work: Budget, format: Str, values: Value): Str {
  if (format.markup) raise('Unsupported', 'formatting a text that is marked as safe is not computed');
  const source = new Values(values);
  const to = new TextBuilder(work);
  let copied = 0;
  FORM.lastIndex = 0;
  for (const match of format.text.matchAll(FORM)) {
    to.push(format.cut(copied, match.index));
    copied = match.index + match[0].length;
    const [, key, flags, width, precision, type] = match;
    if (type === undefined) raise('ValueError', 'incomplete format');
    if (type === '(') raise('Unsupported', 'parentheses in the key of a format are not computed');
    if (type === '%') {
      if (match[0] !== '%%') raise('Unsupported', `'${match[0]}' in a format is not computed`);
      to.push('%');
      continue;
    }
    const item = (): Value => (key === undefined ? source.next() : source.named(key));
    const size = width === '*' ? indexOf(source.next()) : Number(width || 0);
    const digits =
      precision === '*' ? Math.max(0, indexOf(source.next())) : precision === undefined ? null : Number(precision);
    work.fits(Math.abs(size) + (digits ?? 0));
    write(work, to, item(), { flags: size < 0 ? `${flags}-` : flags!, width: Math.abs(size), precision: digits, type });
  }
  to.push(format.cut(copied));
  source.end();
  return to.done();
}

interface Form {
  readonly flags: string;
  readonly width: number;
  readonly precision: number | null;
  readonly type: string;
}

function write(work: Budget, to: TextBuilder, value: Value, form: Form): void {
  if ('srac'.includes(form.type)) {
    pad(work, to, '', form.type === 'c' ? character(work, value) : converted(work, value, form), form, false);
    return;
  }
  if (!'diuoxXeEfFgG'.includes(form.type)) raise('ValueError', `unsupported format character '${form.type}'`);
  if (value instanceof Undefined) value.fail();
  if (!isNumber(value)) raise('TypeError', `%${form.type} format: a number is required, not ${typeName(value)}`);
  const { sign, digits } = percentNumber(value, form.type, form.precision, form.flags.includes('#'));
  const plus = sign.startsWith('-') ? '' : form.flags.includes('+') ? '+' : form.flags.includes(' ') ? ' ' : '';
  pad(work, to, plus + sign, new Str(digits), form, form.flags.includes('0') && !form.flags.includes('-'));
}

function converted(work: Budget, value: Value, form: Form): Str {
  const text = form.type === 's' ? toText(work, value) : repr(work, value);
  if (form.type === 'a' && !isAscii(text.text)) raise('Unsupported', '%a is not computed beyond ASCII');
  if (form.precision === null || form.precision >= text.size(work)) return text;
  return text.cut(0, text.unit(work, form.precision));
}

function character(work: Budget, value: Value): Str {
  if (value instanceof Str && value.size(work) === 1) return value;
  if (!isInteger(value)) raise('TypeError', '%c requires int or char');
  const code = Number(value);
  if (code < 0 || code > 0x10ffff) raise('OverflowError', '%c arg not in range(0x110000)');
  return new Str(String.fromCodePoint(code));
}

function pad(work: Budget, to: TextBuilder, sign: string, text: Str, form: Form, zeros: boolean): void {
  const missing = Math.max(0, form.width - sign.length - text.size(work));
  if (form.flags.includes('-')) to.push(sign).push(text).push(' '.repeat(missing));
  else if (zeros) to.push(sign).push('0'.repeat(missing)).push(text);
  else to.push(' '.repeat(missing)).push(sign).push(text);
}

/** What a format takes its values from: a tuple, one value, or the members of a mapping. */
class Values {
  readonly #values: Value;
  readonly #list: readonly Value[] | null;
  #taken = 0;
  #byName = false;

  constructor(values: Value) {
    this.#values = values;
    this.#list = values instanceof Tuple ? values.items : null;
  }

  next(): Value {
    if (this.#byName) raise('Unsupported', 'a format with and without names is not computed');
    const list = this.#list ?? [this.#values];
    if (this.#taken >= list.length) raise('TypeError', 'not enough arguments for format string');
    return list[this.#taken++]!;
  }

  named(key: string): Value {
    if (this.#taken > 0) raise('Unsupported', 'a format with and without names is not computed');
    this.#byName = true;
    if (this.#values instanceof Undefined) this.#values.fail();
    if (!(this.#values instanceof Dict)) raise('TypeError', 'format requires a mapping');
    const value = this.#values.named(key);
    return value === undefined ? raise('LookupError', `KeyError: '${key}'`) : value;
  }

  end(): void {
    // Python lets anything that has elements by key pass unused
    const mapping = [Dict, List, Range, Undefined].some((type) => this.#values instanceof type);
    const left = this.#list === null ? this.#taken === 0 && !mapping : this.#taken < this.#list.length;
    if (left && !this.#byName) raise('TypeError', 'not all arguments converted during string formatting');
  }
}
