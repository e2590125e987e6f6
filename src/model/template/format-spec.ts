/** `format(value, spec)`: Python's mini-language of widths, alignments and number forms. */
import type { Budget } from './budget.ts';
import { exponential, fixed, floatRepr, general } from './floats.ts';
import { asDouble, type Numeric } from './numbers.ts';
import { toText } from './repr.ts';
import { Str, TextBuilder } from './text.ts';
import { Float, isInteger, isNumber, raise, typeName, Undefined, type Value } from './values.ts';

interface Spec {
  readonly fill: string;
  readonly align: '' | '<' | '>' | '=' | '^';
  readonly sign: string;
  readonly alternate: boolean;
  readonly zero: boolean;
  readonly width: number;
  readonly grouping: string;
  readonly precision: number | null;
  readonly type: string;
}

/** Of a float: no double has more digits. */
const MOST_PLACES = 1100;

const SPEC = /^(?:(.)?([<>=^]))?([-+ ])?(#)?(0)?(\d+)?([,_])?(?:\.(\d+))?([bcdeEfFgGnosxX%])?$/su;

function parse(text: string): Spec {
  const match = SPEC.exec(text);
  if (match === null) raise('ValueError', `Invalid format specifier '${text}'`);
  const [, fill, align, sign, alternate, zero, width, grouping, precision, type] = match;
  return {
    fill: fill ?? (zero && align === undefined ? '0' : ' '),
    align: (align ?? '') as Spec['align'],
    sign: sign ?? '',
    alternate: alternate !== undefined,
    zero: zero !== undefined,
    width: Number(width ?? 0),
    grouping: grouping ?? '',
    precision: precision === undefined ? null : Number(precision),
    type: type ?? '',
  };
}

/** @throws TypeError, ValueError as Python; Unsupported for rare forms of numbers */
export function formatValue(work: Budget, value: Value, specText: string): Str {
  if (specText === '') return toText(work, value);
  if (!(value instanceof Str) && !isNumber(value)) {
    if (value instanceof Undefined) value.fail();
    raise('TypeError', `unsupported format string passed to ${typeName(value)}.__format__`);
  }
  const spec = parse(specText);
  work.fits(spec.width + (spec.precision ?? 0));
  if (value instanceof Str) return formatText(work, value, spec);
  const { sign, digits } = formatNumber(value, spec);
  const size = sign.length + digits.length;
  const missing = Math.max(0, spec.width - size);
  const align = spec.align || (spec.zero ? '=' : '>');
  if (align === '=' && missing > 0 && spec.grouping !== '' && spec.fill === '0') {
    raise('Unsupported', 'zeros before a number with separators are not computed');
  }
  if (align === '=') return new Str(sign + spec.fill.repeat(missing) + digits);
  return pad(work, new Str(sign + digits), missing, spec.fill, align);
}

function formatText(work: Budget, value: Str, spec: Spec): Str {
  if (!['', 's'].includes(spec.type))
    raise('ValueError', `Unknown format code '${spec.type}' for object of type 'str'`);
  if (spec.sign || spec.alternate || spec.align === '=' || spec.grouping)
    raise('ValueError', 'a sign, #, = or a separator is not allowed for a text');
  let text = value;
  const size = value.size(work);
  if (spec.precision !== null && spec.precision < size) text = value.cut(0, value.unit(work, spec.precision));
  const missing = Math.max(0, spec.width - text.size(work));
  return pad(work, text, missing, spec.fill, spec.align || '<');
}

function pad(work: Budget, text: Str, missing: number, fill: string, align: string): Str {
  if (missing === 0) return text;
  const left = align === '<' ? 0 : align === '>' ? missing : Math.floor(missing / 2);
  return new TextBuilder(work)
    .push(fill.repeat(left))
    .push(text)
    .push(fill.repeat(missing - left))
    .done();
}

function formatNumber(value: Numeric, spec: Spec): { sign: string; digits: string } {
  if (isInteger(value) && ['', 'b', 'c', 'd', 'n', 'o', 'x', 'X'].includes(spec.type)) {
    if (spec.precision !== null) raise('ValueError', 'Precision not allowed in integer format specifier');
    return formatInteger(BigInt(value), spec);
  }
  if (['s', 'b', 'c', 'd', 'o', 'x', 'X'].includes(spec.type))
    raise('ValueError', `Unknown format code '${spec.type}' for object of type '${typeName(value)}'`);
  const double = asDouble(value);
  const sign = signOf(double < 0 || Object.is(double, -0), spec.sign);
  return { sign, digits: grouped(floatDigits(double, spec), spec.grouping) };
}

const signOf = (negative: boolean, wanted: string) => (negative ? '-' : wanted === '-' ? '' : wanted);

function formatInteger(value: bigint, spec: Spec): { sign: string; digits: string } {
  const magnitude = value < 0n ? -value : value;
  if (spec.type === 'c') {
    if (spec.sign || value < 0n || value > 0x10ffffn) raise('ValueError', '%c is not in range or has a sign');
    return { sign: '', digits: String.fromCodePoint(Number(value)) };
  }
  const base = { b: 2, o: 8, x: 16, X: 16 }[spec.type] ?? 10;
  let digits = magnitude.toString(base);
  if (digits.length > 4300) raise('ValueError', 'an integer of more than 4300 digits cannot be written');
  if (spec.type === 'X') digits = digits.toUpperCase();
  if (spec.grouping === ',' && base !== 10) raise('ValueError', `Cannot specify ',' with '${spec.type}'.`);
  if (spec.grouping !== '' && spec.type === 'n') raise('ValueError', `Cannot specify '${spec.grouping}' with 'n'.`);
  digits = grouped(digits, spec.grouping, base === 10 ? 3 : 4);
  const prefix = spec.alternate && base !== 10 ? `0${spec.type}` : '';
  return { sign: signOf(value < 0n, spec.sign) + prefix, digits };
}

/** Separators between groups of the digits before the point. */
function grouped(text: string, separator: string, size = 3): string {
  if (separator === '') return text;
  const whole = /^[\da-fA-F]*/.exec(text)![0];
  if (!/^\d/.test(text) && size === 3) return text;
  const groups: string[] = [];
  for (let end = whole.length; end > 0; end -= size) groups.unshift(whole.slice(Math.max(0, end - size), end));
  return groups.join(separator) + text.slice(whole.length);
}

function floatDigits(value: number, spec: Spec): string {
  const upper = ['E', 'F', 'G'].includes(spec.type);
  if (!Number.isFinite(value)) {
    const word = Number.isNaN(value) ? 'nan' : 'inf';
    return (upper ? word.toUpperCase() : word) + (spec.type === '%' ? '%' : '');
  }
  if (spec.alternate) raise('Unsupported', "'#' for floats is not computed");
  if ((spec.precision ?? 0) > MOST_PLACES)
    raise('Unsupported', `more than ${MOST_PLACES} decimal places are not computed`);
  const magnitude = Math.abs(value);
  const text = floatText(magnitude, spec);
  return upper ? text.toUpperCase() : text;
}

function floatText(magnitude: number, spec: Spec): string {
  const precision = spec.precision ?? 6;
  switch (spec.type.toLowerCase()) {
    case 'e':
      return exponential(magnitude, precision);
    case 'f':
      return fixed(magnitude, precision);
    case '%':
      return `${fixed(magnitude * 100, precision)}%`;
    case '': {
      if (spec.precision === null) return floatRepr(magnitude);
      const text = general(magnitude, precision);
      if (/[.e]/.test(text)) return text;
      // Python writes 10.0 with two digits as 1e+01, because a point and a digit are to follow
      const whole = text.length >= (precision || 1) ? exponential(magnitude, Math.max(0, precision - 1)) : `${text}.0`;
      return whole.includes('e') ? whole.replace(/\.?0+e/, 'e') : whole;
    }
    default:
      return general(magnitude, precision);
  }
}

/** A number as `%` formats it: sign and digits apart, so that zeros can stand between them. */
export function percentNumber(
  value: Numeric,
  type: string,
  precision: number | null,
  alternate: boolean,
): { sign: string; digits: string } {
  const spec: Spec = {
    fill: ' ',
    align: '',
    sign: '',
    alternate: false,
    zero: false,
    width: 0,
    grouping: '',
    precision,
    type,
  };
  if ('eEfFgG'.includes(type)) {
    if (alternate) raise('Unsupported', "'#' for floats is not computed");
    const double = asDouble(value);
    return { sign: double < 0 || Object.is(double, -0) ? '-' : '', digits: floatDigits(double, spec) };
  }
  let whole: bigint;
  if (value instanceof Float) {
    if (!'diu'.includes(type)) raise('TypeError', `%${type} format: an integer is required, not float`);
    if (!Number.isFinite(value.value)) {
      raise(Number.isNaN(value.value) ? 'ValueError' : 'OverflowError', 'cannot convert float to integer');
    }
    whole = BigInt(Math.trunc(value.value));
  } else whole = BigInt(value);
  const plain = 'diu'.includes(type) ? 'd' : type;
  const { sign, digits } = formatInteger(whole, { ...spec, precision: null, type: plain });
  const prefix = alternate && plain !== 'd' ? `0${plain}` : '';
  return { sign: sign + prefix, digits: digits.padStart(precision ?? 0, '0') };
}
