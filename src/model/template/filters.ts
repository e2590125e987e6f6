/** All filters by name. */
import { getAttribute, ownAttribute } from './attributes.ts';
import type { Budget } from './budget.ts';
import { asciiDigits, skipSpace, skipSpaceBack } from './characters.ts';
import { FILTERS, type Filter, filter, refused, TESTS } from './filter.ts';
import { listFilters } from './filters-lists.ts';
import { TEXT_FILTERS } from './filters-text.ts';
import { fixed, roundFloat } from './floats.ts';
import { type JsonStyle, toJson } from './json.ts';
import { arithmetic, asDouble, compareNumbers, indexOf, integer, MOST_DIGITS, negate } from './numbers.ts';
import { listOf, truth } from './operators.ts';
import { Str } from './text.ts';
import { Float, isInteger, isNumber, PythonError, raise, typeName, Undefined, type Value } from './values.ts';

/** `int(text, base)` @throws ValueError */
function parseInteger(text: string, base: number): number | bigint {
  const digits = asciiDigits(
    text.slice(skipSpace(text, 0), Math.max(skipSpace(text, 0), skipSpaceBack(text, text.length))),
  );
  const match = /^([-+]?)(0[bBoOxX]_?)?([\da-zA-Z]+(?:_[\da-zA-Z]+)*)$/.exec(digits);
  const bad = () => raise('ValueError', `invalid literal for int() with base ${base}`);
  if (base !== 0 && (base < 2 || base > 36)) raise('ValueError', 'int() base must be >= 2 and <= 36, or 0');
  if (match === null) return bad();
  const [, sign, prefix, body] = match as unknown as [string, string, string | undefined, string];
  const prefixBase = prefix === undefined ? null : { b: 2, o: 8, x: 16 }[prefix[1]!.toLowerCase()]!;
  let radix = base === 0 ? (prefixBase ?? 10) : base;
  let number = body.replaceAll('_', '').toLowerCase();
  // with a base of its own, 0b1 may be a number of that base rather than a prefix
  if (prefixBase !== null && prefixBase !== radix) number = prefix!.replace('_', '').toLowerCase() + number;
  if (base === 0 && prefixBase === null && /^0+[1-9]/.test(number)) return bad();
  if (number.length > MOST_DIGITS) raise('ValueError', 'too many digits for an integer');
  if (base === 0 && prefixBase === null) radix = 10;
  let value = 0n;
  for (const digit of number) {
    const place = Number.parseInt(digit, 36);
    if (!(place < radix)) return bad();
    value = value * BigInt(radix) + BigInt(place);
  }
  return integer(sign === '-' ? -value : value);
}

/** `float(text)` @throws ValueError */
function parseFloat64(text: string): number {
  const start = skipSpace(text, 0);
  const body = asciiDigits(text.slice(start, Math.max(start, skipSpaceBack(text, text.length))));
  const word = /^([-+]?)(inf|infinity|nan)$/i.exec(body);
  if (word !== null) {
    const value = word[2]!.toLowerCase() === 'nan' ? Number.NaN : Number.POSITIVE_INFINITY;
    return word[1] === '-' ? -value : value;
  }
  if (!/^[-+]?(\d+(_\d+)*\.?(\d+(_\d+)*)?|\.\d+(_\d+)*)([eE][-+]?\d+(_\d+)*)?$/.test(body)) {
    raise('ValueError', 'could not convert string to float');
  }
  return Number(body.replaceAll('_', ''));
}

function toFloat(value: Value): number {
  if (value instanceof Str) return parseFloat64(value.text);
  if (value instanceof Undefined) value.fail();
  if (isNumber(value)) return asDouble(value);
  return raise('TypeError', `float() takes a string or a number, not ${typeName(value)}`);
}

function truncated(value: number): number | bigint {
  if (Number.isNaN(value)) raise('ValueError', 'cannot convert float NaN to integer');
  if (!Number.isFinite(value)) raise('OverflowError', 'cannot convert float infinity to integer');
  return integer(BigInt(Math.trunc(value)));
}

function toInteger(value: Value, base: Value): number | bigint {
  if (value instanceof Str) return parseInteger(value.text, indexOf(base));
  if (value instanceof Undefined) value.fail();
  if (isInteger(value)) return typeof value === 'boolean' ? Number(value) : value;
  if (value instanceof Float) return truncated(value.value);
  return raise('TypeError', `int() takes a string or a number, not ${typeName(value)}`);
}

const isKind = (error: unknown, ...kinds: readonly string[]) =>
  error instanceof PythonError && kinds.includes(error.kind);

function int(value: Value, otherwise: Value, base: Value): Value {
  try {
    return toInteger(value, base);
  } catch (error) {
    if (!isKind(error, 'TypeError', 'ValueError')) throw error;
  }
  try {
    return truncated(toFloat(value));
  } catch (error) {
    if (!isKind(error, 'TypeError', 'ValueError', 'OverflowError')) throw error;
    return otherwise;
  }
}

function round(work: Budget, value: Value, precision: Value, method: Value): Value {
  const how = method instanceof Str ? method.text : '';
  if (!['common', 'ceil', 'floor'].includes(how)) raise('TypeError', 'method must be common, ceil or floor');
  if (value instanceof Undefined) value.fail();
  if (!isNumber(value)) raise('TypeError', `type ${typeName(value)} doesn't define __round__ method`);
  if (how === 'common') {
    if (value instanceof Float) {
      if (precision === null) return truncated(roundFloat(value.value, 0));
      return new Float(roundFloat(value.value, indexOf(precision)));
    }
    return roundInteger(BigInt(value), precision === null ? 0 : indexOf(precision));
  }
  if (!isNumber(precision)) raise('TypeError', 'the precision must be a number');
  const factor = arithmetic(work, '**', 10, precision) as number | bigint | Float;
  const product = arithmetic(work, '*', value, factor) as number | bigint | Float;
  const whole =
    product instanceof Float
      ? truncated(how === 'ceil' ? Math.ceil(product.value) : Math.floor(product.value))
      : product;
  return arithmetic(work, '/', whole, factor);
}

/** Ties go to the even multiple, as everywhere in Python. */
function roundInteger(value: bigint, places: number): number | bigint {
  if (places >= 0) return integer(value);
  if (places < -MOST_DIGITS) return 0;
  const unit = 10n ** BigInt(-places);
  const rest = ((value % unit) + unit) % unit;
  const down = value - rest;
  const up = rest * 2n > unit || (rest * 2n === unit && (down / unit) % 2n !== 0n);
  return integer(up ? down + unit : down);
}

function json(work: Budget, [value, ascii, indent, separators, sortKeys]: readonly Value[]): Str {
  let level: Str | null = null;
  if (indent instanceof Str) level = indent;
  else if (indent !== null) {
    const count = Math.max(0, indexOf(indent!));
    work.text(count);
    level = new Str(' '.repeat(count));
  }
  const pair = separators === null ? null : listOf(work, separators!);
  if (pair !== null && !(pair.length === 2 && pair.every((item) => item instanceof Str))) {
    raise('TypeError', 'separators are two strings');
  }
  const [item, key] = (pair as [Str, Str] | null) ?? [new Str(level === null ? ', ' : ','), new Str(': ')];
  const style: JsonStyle = {
    ensureAscii: truth(ascii!),
    indent: level,
    itemSeparator: item,
    keySeparator: key,
    sortKeys: truth(sortKeys!),
  };
  return toJson(work, value!, style);
}

const UNITS = ['k', 'M', 'G', 'T', 'P', 'E', 'Z', 'Y'];

function fileSize(value: Value, binary: Value): Str {
  const bytes = toFloat(value);
  const base = truth(binary) ? 1024 : 1000;
  if (bytes === 1) return new Str('1 Byte');
  if (bytes < base) return new Str(`${truncated(bytes)} Bytes`);
  if (!Number.isFinite(bytes)) return raise('Unsupported', 'the size of an infinite file is not computed');
  let place = 0;
  while (place < UNITS.length - 1 && bytes >= base ** (place + 2)) place++;
  const unit = truth(binary) ? `${UNITS[place]!.toUpperCase()}iB` : `${UNITS[place]}B`;
  return new Str(`${fixed((base * bytes) / base ** (place + 2), 1)} ${unit}`);
}

function named(table: ReadonlyMap<string, Filter>, what: string): (name: Value) => Filter {
  return (name) => {
    const found = name instanceof Str ? table.get(name.text) : undefined;
    return found ?? raise('TemplateError', `No ${what} named '${name instanceof Str ? name.text : typeName(name)}'.`);
  };
}

const VALUE_FILTERS: readonly (readonly [string, Filter])[] = [
  ...['default', 'd'].map((name) =>
    filter(name, "value, default_value='', boolean=False", (_, [value, otherwise, boolean]) =>
      value instanceof Undefined || (truth(boolean!) && !truth(value!)) ? otherwise! : value!,
    ),
  ),
  filter('attr', 'obj, name', (work, [value, name]) => {
    if (!(name instanceof Str)) return raise('TypeError', 'attribute name must be string');
    if (ownAttribute(value!, name.text) === undefined) return new Undefined(`no attribute '${name.text}'`);
    return getAttribute(work, value!, name.text);
  }),
  filter('int', 'value, default=0, base=10', (work, [value, otherwise, base]) => {
    if (value instanceof Str) work.text(value.text.length);
    return int(value!, otherwise!, base!);
  }),
  filter('float', 'value, default=0.0', (work, [value, otherwise]) => {
    if (value instanceof Str) work.text(value.text.length);
    try {
      return new Float(toFloat(value!));
    } catch (error) {
      if (!isKind(error, 'TypeError', 'ValueError')) throw error;
      return otherwise!;
    }
  }),
  filter('abs', 'x, /', (work, [value]) => {
    if (value instanceof Undefined) raise('TypeError', 'bad operand type for abs()');
    if (!isNumber(value!)) return raise('TypeError', `bad operand type for abs(): '${typeName(value!)}'`);
    if (value instanceof Float) return new Float(Math.abs(value.value));
    return compareNumbers(value!, 0) < 0 ? negate(work, value) : typeof value === 'boolean' ? Number(value) : value;
  }),
  filter('round', "value, precision=0, method='common'", (work, [value, precision, method]) =>
    round(work, value!, precision!, method!),
  ),
  filter('tojson', 'x, ensure_ascii=False, indent=None, separators=None, sort_keys=False', json),
  filter('filesizeformat', 'value, binary=False', (_, [value, binary]) => fileSize(value!, binary!)),
  ...['pprint', 'random', 'striptags', 'urlize', 'wordwrap', 'xmlattr'].map(refused),
];

/** Fills `FILTERS`. */
export function defineFilters(): void {
  const lists = listFilters(named(FILTERS, 'filter'), named(TESTS, 'test'));
  for (const [name, run] of [...TEXT_FILTERS, ...lists, ...VALUE_FILTERS]) FILTERS.set(name, run);
}
