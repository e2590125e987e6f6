/** What Python's `str` holds of characters: whitespace, ends of lines, digits, upper and lower case. */
import { raise } from './values.ts';

/** Whitespace of `str.strip` and of `\s`: not JavaScript's, which has U+FEFF and lacks U+001C to U+001F and U+0085. */
export function isSpace(unit: number): boolean {
  if (unit < 128) return unit === 32 || (unit >= 9 && unit <= 13) || (unit >= 28 && unit <= 31);
  return (
    unit === 0x85 ||
    unit === 0xa0 ||
    unit === 0x1680 ||
    (unit >= 0x2000 && unit <= 0x200a) ||
    unit === 0x2028 ||
    unit === 0x2029 ||
    unit === 0x202f ||
    unit === 0x205f ||
    unit === 0x3000
  );
}

/** The same within brackets of a regular expression. */
export const SPACE_CLASS = '\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000';

/** The first place at or after `from` that is no whitespace. */
export function skipSpace(text: string, from: number): number {
  while (from < text.length && isSpace(text.charCodeAt(from))) from++;
  return from;
}

/** The place after the last character before `to` that is no whitespace. */
export function skipSpaceBack(text: string, to: number): number {
  while (to > 0 && isSpace(text.charCodeAt(to - 1))) to--;
  return to;
}

/** Where each line starts and ends, and ends with its ending, as `str.splitlines` sees them. */
export function* linesOf(text: string): Generator<readonly [start: number, end: number, next: number]> {
  let start = 0;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (
      !((unit >= 10 && unit <= 13) || (unit >= 28 && unit <= 30) || unit === 0x85 || unit === 0x2028 || unit === 0x2029)
    )
      continue;
    const end = i;
    if (unit === 13 && text.charCodeAt(i + 1) === 10) i++;
    yield [start, end, i + 1];
    start = i + 1;
  }
  if (start < text.length) yield [start, text.length, text.length];
}

/** Characters that have a digit's value and are not decimal digits (superscripts, circled digits and the like). */
const OTHER_DIGITS =
  '²³¹\u1369-\u1371\u19da⁰⁴-⁹₀-₉①-⑨⑴-⑼⒈-⒐⓪⓵-⓽⓿❶-❾➀-➈➊-➒\u{10a40}-\u{10a43}\u{10e60}-\u{10e68}\u{11052}-\u{1105a}\u{1f100}-\u{1f10a}';
/** Ideographs that stand for numbers. */
const NUMERALS =
  '㐅㒃㠪㭍一七万三九二五亖亿什仟仨伍佰億兆兩八六十千-卅卌叁-叄四壱壹幺廾-廿弌-弎弐拾捌柒漆玖百肆萬貮貳贰阡陆陌陸零參拾兩零六陸什'
    .normalize('NFC')
    .concat(
      '\u53c1-\u53c4\uf96b\uf973\uf978\uf9b2\uf9d1\uf9d3\uf9fd\u{20001}\u{20064}\u{200e2}\u{20121}\u{2092a}\u{20983}',
    )
    .concat('\u{2098c}\u{2099c}\u{20aea}\u{20afd}\u{20b19}\u{22390}\u{22998}\u{23b1b}\u{2626d}\u{2f890}');

const whole = (characters: string) => new RegExp(`^[${characters}]+$`, 'u');
const ALPHA = whole('\\p{L}');
const DECIMAL = whole('\\p{Nd}');
const DIGIT = whole(`\\p{Nd}${OTHER_DIGITS}`);
const NUMERIC = whole(`\\p{N}${NUMERALS}`);
const ALPHANUMERIC = whole(`\\p{L}\\p{N}`);
const PRINTABLE = /^(?:[^\p{C}\p{Z}]| )*$/u;
const ASCII = /^[\0-\x7f]*$/;
const IDENTIFIER = /^[\p{XID_Start}_]\p{XID_Continue}*$/u;
const LOWER = /\p{Lowercase}/u;
const UPPER = /\p{Uppercase}/u;
const NOT_LOWER = /[\p{Uppercase}\p{Lt}]/u;
const NOT_UPPER = /[\p{Lowercase}\p{Lt}]/u;
const CASED = /\p{Cased}/u;

export const isAlpha = (text: string) => ALPHA.test(text);
export const isDecimal = (text: string) => DECIMAL.test(text);
export const isDigit = (text: string) => DIGIT.test(text);
export const isNumeric = (text: string) => NUMERIC.test(text);
export const isAlphanumeric = (text: string) => ALPHANUMERIC.test(text);
export const isPrintable = (text: string) => PRINTABLE.test(text);
export const isAscii = (text: string) => ASCII.test(text);
export const isIdentifier = (text: string) => IDENTIFIER.test(text);
export const isLower = (text: string) => LOWER.test(text) && !NOT_LOWER.test(text);
export const isUpper = (text: string) => UPPER.test(text) && !NOT_UPPER.test(text);
export const isAllSpace = (text: string) => text !== '' && skipSpace(text, 0) === text.length;

/** A character at the start of a word. Throws for the few Greek ones whose titlecase neither case's mapping gives. */
function titled(character: string): string {
  const upper = character.toUpperCase();
  const code = character.codePointAt(0)!;
  if (code >= 0x01c4 && code <= 0x01cc) return String.fromCharCode(code - ((code - 0x01c4) % 3) + 1);
  if (code >= 0x01f1 && code <= 0x01f3) return '\u01f2';
  if (code >= 0x10d0 && code <= 0x10ff) return character;
  if (code >= 0x1f80 && code <= 0x1fff && upper.length > 1) return String.fromCharCode(greekTitle(code));
  if (upper.length === character.length || code === 0x0149 || code === 0x01f0 || code === 0x0390 || code === 0x03b0)
    return upper;
  // ß becomes Ss, ﬁ becomes Fi, և becomes Եւ
  if (code === 0xdf || code === 0x587 || (code >= 0xfb00 && code <= 0xfb17)) {
    return code === 0x587 ? '\u0535\u0582' : upper[0] + upper.slice(1).toLowerCase();
  }
  return upper;
}

function greekTitle(code: number): number {
  if (code <= 0x1faf) return code | 8;
  const title = { 8115: 0x1fbc, 8124: 0x1fbc, 8131: 0x1fcc, 8140: 0x1fcc, 8179: 0x1ffc, 8188: 0x1ffc }[code];
  if (title === undefined) raise('Unsupported', `the title case of U+${code.toString(16)} is not computed`);
  return title;
}

/** `str.capitalize` */
export function capitalize(text: string): string {
  const first = text === '' ? '' : String.fromCodePoint(text.codePointAt(0)!);
  // lower case of the rest in its place: a final sigma looks at what stands before it
  const lower = text.toLowerCase();
  return first === '' ? '' : titled(first) + lower.slice(first.toLowerCase().length);
}

/** A capital sigma's lower case depends on what stands around it, which a word or a character alone does not show. */
function refuseSigma(text: string): void {
  if (text.includes('Σ')) raise('Unsupported', 'title() and swapcase() of a capital sigma are not computed');
}

/** `str.title` */
export function title(text: string): string {
  refuseSigma(text);
  let result = '';
  let word = '';
  for (const character of text) {
    if (CASED.test(character)) word += character;
    else {
      result += capitalize(word) + character;
      word = '';
    }
  }
  return result + capitalize(word);
}

/** `str.swapcase` */
export function swapCase(text: string): string {
  refuseSigma(text);
  let result = '';
  for (const character of text) {
    if (UPPER.test(character)) result += character.toLowerCase();
    else result += LOWER.test(character) ? character.toUpperCase() : character;
  }
  return result;
}

/** Decimal digits of any script as ASCII ones: Python reads numbers in all of them. */
export function asciiDigits(text: string): string {
  if (isAscii(text)) return text;
  return text.replace(/\p{Nd}/gu, (digit) => {
    // each script's ten digits stand in a row
    let zero = digit.codePointAt(0)!;
    let value = 0;
    while (value < 9 && DECIMAL.test(String.fromCodePoint(zero - 1))) {
      zero--;
      value++;
    }
    return String(value);
  });
}

/** Where Python's and JavaScript's order of strings differ: by code points, not by UTF-16 units. */
export function compareText(a: string, b: string): number {
  if (a === b) return 0;
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x === y) continue;
    const high = (unit: number) => unit >= 0xd800 && unit <= 0xdfff;
    if (high(x) !== high(y)) return high(x) ? 1 : -1;
    return x < y ? -1 : 1;
  }
  return a.length < b.length ? -1 : 1;
}
